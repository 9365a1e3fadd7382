#ifdef __linux__
#define _GNU_SOURCE
#include <signal.h>
#include <sys/prctl.h>
#endif
#include <errno.h>
#include <unistd.h>

#include "include/CKernels.h"

int lockstep_spawn(char *const arguments[], int ending_signal) {
  pid_t parent = getpid(), child = fork();
  if (child != 0) return child > 0 ? child : -errno;
  // What the parent has been told to ignore, its children would ignore too.
  signal(SIGPIPE, SIG_DFL);
  signal(SIGXFSZ, SIG_DFL);
#ifdef __linux__
  prctl(PR_SET_PDEATHSIG, ending_signal);
  // The parent may have died before it could be told so.
  if (getppid() != parent) _exit(128 + ending_signal);
#endif
  execvp(arguments[0], arguments);
  _exit(127);
}
