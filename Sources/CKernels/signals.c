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
}

int lockstep_signal_received(void) { return received; }
