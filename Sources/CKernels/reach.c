#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "include/CKernels.h"

static long long now_ms(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

int lockstep_host_answers(const char *host, const char *port, int milliseconds) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG}, *addresses = NULL;
  if (getaddrinfo(host, port, &hints, &addresses) != 0) return -1;
  int answers = 0;
  for (struct addrinfo *address = addresses; address != NULL && !answers; address = address->ai_next) {
    int file = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (file < 0) continue;
    int error = 0;
    long long end = now_ms() + milliseconds;
    if (connect(file, address->ai_addr, address->ai_addrlen) != 0) error = errno;
    if (error == EINPROGRESS) {
      struct pollfd poller = {.fd = file, .events = POLLOUT};
      socklen_t size = sizeof error;
      int ready;
      do {
        long long left = end - now_ms();
        ready = poll(&poller, 1, left > 0 ? (int)left : 0);
      } while (ready < 0 && errno == EINTR);
      error = ETIMEDOUT;
      if (ready == 1) getsockopt(file, SOL_SOCKET, SO_ERROR, &error, &size);
    }
    // A host that refuses is there.
    answers = error == 0 || error == ECONNREFUSED || error == ECONNRESET;
    close(file);
  }
  freeaddrinfo(addresses);
  return answers;
}
