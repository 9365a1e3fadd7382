// The kernels of a format of 16 bits; included with FORMAT and the format's `encode` and `decode` defined.

CLONES void FORMAT(lockstep_encode)(size_t n, const float *x, uint16_t *out) {
  ELEMENTWISE for (size_t i = 0; i < n; i++) out[i] = (uint16_t)FORMAT(encode)(x[i]);
}

CLONES void FORMAT(lockstep_decode)(size_t n, const uint16_t *x, float *out) {
  ELEMENTWISE for (size_t i = 0; i < n; i++) out[i] = FORMAT(decode)(x[i]);
}

CLONES void FORMAT(lockstep_round)(size_t n, const float *x, float *out) {
  ELEMENTWISE for (size_t i = 0; i < n; i++) out[i] = FORMAT(decode)(FORMAT(encode)(x[i]));
}

CLONES void FORMAT(lockstep_add_rounded)(size_t n, float *a, const float *b) {
  ELEMENTWISE for (size_t i = 0; i < n; i++) {
    float sum = FORMAT(decode)(FORMAT(encode)(a[i])) + FORMAT(decode)(FORMAT(encode)(b[i]));
    a[i] = FORMAT(decode)(FORMAT(encode)(sum));
  }
}

CLONES void FORMAT(lockstep_add_encoded)(size_t n, uint16_t *a, const uint16_t *b) {
  ELEMENTWISE for (size_t i = 0; i < n; i++) a[i] = (uint16_t)FORMAT(encode)(FORMAT(decode)(a[i]) + FORMAT(decode)(b[i]));
}
