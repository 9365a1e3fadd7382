// The kernels of a format of 16 bits; included with FORMAT, ELEMENTWISE and the format's encode and decode defined.

static void FORMAT(encode_all)(size_t n, const float *x, uint16_t *out) {
  ELEMENTWISE for (size_t i = 0; i < n; i++) out[i] = (uint16_t)FORMAT(encode)(x[i]);
}

static void FORMAT(decode_all)(size_t n, const uint16_t *x, float *out) {
  ELEMENTWISE for (size_t i = 0; i < n; i++) out[i] = FORMAT(decode)(x[i]);
}

static void FORMAT(round_all)(size_t n, const float *x, float *out) {
  ELEMENTWISE for (size_t i = 0; i < n; i++) out[i] = FORMAT(decode)(FORMAT(encode)(x[i]));
}

static void FORMAT(add_rounded_all)(size_t n, float *a, const float *b) {
  ELEMENTWISE for (size_t i = 0; i < n; i++) {
    float sum = FORMAT(decode)(FORMAT(encode)(a[i])) + FORMAT(decode)(FORMAT(encode)(b[i]));
    a[i] = FORMAT(decode)(FORMAT(encode)(sum));
  }
}

static void FORMAT(add_encoded_all)(size_t n, uint16_t *a, const uint16_t *b) {
  ELEMENTWISE for (size_t i = 0; i < n; i++) a[i] = (uint16_t)FORMAT(encode)(FORMAT(decode)(a[i]) + FORMAT(decode)(b[i]));
}

static const lockstep_half_kernels FORMAT(half_kernels) = {
  .encode = FORMAT(encode_all),
  .decode = FORMAT(decode_all),
  .round = FORMAT(round_all),
  .add_rounded = FORMAT(add_rounded_all),
  .add_encoded = FORMAT(add_encoded_all),
};
