#include <stddef.h>

#include "draws.h"
#include "elementary_f32.h"
#include "include/CKernels.h"
#include "threads.h"

#define R float
#define KERNEL(name) lockstep_##name##_f32
#include "kernels_template.h"
#include "divided_template.h"
