#include <stddef.h>

#include "draws.h"
#include "elementary_f64.h"
#include "include/CKernels.h"
#include "threads.h"

#define R double
#define KERNEL(name) lockstep_##name##_f64
#include "kernels_template.h"
#include "divided_template.h"
