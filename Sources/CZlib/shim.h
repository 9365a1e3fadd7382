#pragma once
#include <errno.h>
#include <unistd.h>
#include <zlib.h>

// Why what gzip has packed cannot be unpacked; 0 is success, and what is negative is −errno of writing.
enum { LOCKSTEP_GZIP_DAMAGED = 1, LOCKSTEP_GZIP_CUT_OFF, LOCKSTEP_GZIP_BEHIND, LOCKSTEP_GZIP_UNREADABLE, LOCKSTEP_GZIP_MEMORY };

/* Unpacks the streams of gzip in `input` one after the other and writes them to `output`. Zeros behind the last one are padding; anything
   else there is a fault. `place` is the byte that was looked at last. */
static inline int lockstep_gunzip(int input, int output, long long *place) {
  static _Thread_local unsigned char packed[1 << 16], plain[1 << 18];
  z_stream stream = {0};
  if (inflateInit2(&stream, 15 + 16) != Z_OK) return LOCKSTEP_GZIP_MEMORY;
  int code = 0, within = 1, padding = 0;
  *place = 0;
  while (code == 0) {
    ssize_t count = read(input, packed, sizeof packed);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) code = LOCKSTEP_GZIP_UNREADABLE;
    if (count <= 0) break;
    stream.next_in = packed;
    stream.avail_in = (unsigned)count;
    while (code == 0 && stream.avail_in > 0) {
      if (!within) {
        // Behind a stream: the next one, or padding to the end.
        if (*stream.next_in == 0) {
          padding = 1;
          stream.next_in++;
          stream.avail_in--;
          continue;
        }
        if (padding || *stream.next_in != 0x1F || inflateReset(&stream) != Z_OK) {
          code = LOCKSTEP_GZIP_BEHIND;
          break;
        }
        within = 1;
      }
      int result = Z_OK;
      do {
        stream.next_out = plain;
        stream.avail_out = sizeof plain;
        result = inflate(&stream, Z_NO_FLUSH);
        size_t made = sizeof plain - stream.avail_out, written = 0;
        while (written < made) {
          ssize_t done = write(output, plain + written, made - written);
          if (done < 0 && errno != EINTR) {
            code = -errno;
            break;
          }
          if (done > 0) written += (size_t)done;
        }
      } while (code == 0 && result == Z_OK && (stream.avail_in > 0 || stream.avail_out == 0));
      if (result == Z_STREAM_END) within = 0;
      else if (code == 0 && result != Z_OK && result != Z_BUF_ERROR) code = result == Z_MEM_ERROR ? LOCKSTEP_GZIP_MEMORY : LOCKSTEP_GZIP_DAMAGED;
    }
    *place += count - stream.avail_in;
  }
  inflateEnd(&stream);
  return code == 0 && within ? LOCKSTEP_GZIP_CUT_OFF : code;
}
