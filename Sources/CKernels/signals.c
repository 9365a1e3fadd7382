#include <signal.h>
#include <stddef.h>

#include "include/CKernels.h"

static volatile sig_atomic_t received = 0;

static void note(int number) {
  received = number;
  // Who presses Ctrl-C twice, or sends a second SIGTERM, does not want to wait. SIGUSR1 comes more than once from schedulers
  // that send it to a job's script and to mpirun alike; SIGHUP from the system and from a shell when a terminal is closed.
  if (number != SIGUSR1 && number != SIGHUP) signal(number, SIG_DFL);
}

void lockstep_catch_signals(void) {
  struct sigaction action = {.sa_handler = note, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  sigaction(SIGUSR1, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);
  struct sigaction hangup;
  if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN) sigaction(SIGHUP, &action, NULL);
  // Whoever started the program may have blocked them.
  sigset_t caught;
  sigemptyset(&caught);
  sigaddset(&caught, SIGUSR1);
  sigaddset(&caught, SIGTERM);
  sigaddset(&caught, SIGINT);
  sigaddset(&caught, SIGHUP);
  sigprocmask(SIG_UNBLOCK, &caught, NULL);
  // A reader of the output that has gone, or a file at the limit of its size, is an error of the write and not the end of the run.
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
}

int lockstep_signal_received(void) { return received; }
