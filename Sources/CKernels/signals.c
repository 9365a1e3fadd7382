#include <signal.h>
#include <stddef.h>

#include "include/CKernels.h"

static volatile sig_atomic_t received = 0;

static void note(int number) {
  // The second signal of a kind acts as if there were no handler.
  received = number;
  signal(number, SIG_DFL);
}

void lockstep_catch_signals(void) {
  struct sigaction action = {.sa_handler = note, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  sigaction(SIGUSR1, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  sigaction(SIGINT, &action, NULL);
  // A reader of the output that has gone, or a file at the limit of its size, is an error of the write and not the end of the run.
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);
}

int lockstep_signal_received(void) { return received; }
