#include <errno.h>
#include <unistd.h>

// As FAT, SMB and some file systems of FUSE answer.
int symlink(const char *target, const char *path) {
  (void)target;
  (void)path;
  errno = EPERM;
  return -1;
}
