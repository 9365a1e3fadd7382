#ifdef __linux__
#define _GNU_SOURCE
#include <signal.h>
#include <sys/prctl.h>
#endif
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "include/CKernels.h"

extern char **environ;

int lockstep_spawn(char *const arguments[], char *const *environment, int output, int errors, int ending_signal) {
  pid_t parent = getpid(), child = fork();
  if (child != 0) return child > 0 ? child : -errno;
  // A terminal sends Ctrl-C to all of a group: the parent alone is to get it. Who is not of the terminal's group cannot read from it,
  // and would be stopped for writing to it where the terminal is set so.
  setpgid(0, 0);
  int nothing = open("/dev/null", O_RDONLY);
  if (nothing > 0) {
    dup2(nothing, STDIN_FILENO);
    close(nothing);
  }
  signal(SIGTTOU, SIG_IGN);
  if (output >= 0) dup2(output, STDOUT_FILENO);
  if (errors >= 0) dup2(errors, STDERR_FILENO);
  // What the parent has been told to ignore, its children would ignore too.
  signal(SIGPIPE, SIG_DFL);
  signal(SIGXFSZ, SIG_DFL);
#ifdef __linux__
  prctl(PR_SET_PDEATHSIG, ending_signal);
  // The parent may have died before it could be told so.
  if (getppid() != parent) _exit(128 + ending_signal);
#endif
  if (environment) environ = (char **)environment;
  execvp(arguments[0], arguments);
  _exit(127);
}
