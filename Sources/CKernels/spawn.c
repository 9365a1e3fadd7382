#ifdef __linux__
#define _GNU_SOURCE
#include <signal.h>
#include <sys/prctl.h>
#endif
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
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

int lockstep_temporary_file(const char *folder) {
#ifdef O_TMPFILE
  int file = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (file >= 0) return file;
#endif
  // Not every file system has files without names.
  char name[4096];
  if ((size_t)snprintf(name, sizeof name, "%s/lockstep-XXXXXX", folder) >= sizeof name) return -ENAMETOOLONG;
  int named = mkstemp(name);
  if (named < 0) return -errno;
  unlink(name);
  fcntl(named, F_SETFD, FD_CLOEXEC);
  return named;
}

int lockstep_run_shell(const char *command, int output, int errors) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  sigset_t none, all;
  pid_t child = 0;
  int status = 0;
  int code = posix_spawn_file_actions_init(&actions);
  if (code != 0) return -code;
  code = posix_spawnattr_init(&attributes);
  if (code != 0) {
    posix_spawn_file_actions_destroy(&actions);
    return -code;
  }
  sigemptyset(&none);
  sigfillset(&all);
  // What this process ignores or blocks, the command would too.
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  // A group of its own: a terminal's Ctrl-C, or a signal to the group of this process, ends the run with a checkpoint, and not the command.
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  code = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  if (code == 0) code = posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  if (code == 0) code = posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
  char *const arguments[] = {"sh", "-c", (char *)command, NULL};
  if (code == 0) code = posix_spawn(&child, "/bin/sh", &actions, &attributes, arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (code != 0) return -code;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return -errno;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
