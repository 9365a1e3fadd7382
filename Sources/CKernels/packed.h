// Products of a few rows with a matrix that was packed before: C = A Wᵀ, the recurrent product of one time step.
//
// W [N, K] is packed into panels of PANEL columns of Wᵀ, K × PANEL elements each, padded with zeros; so the innermost loop reads it from
// end to end. Every element of C is one sum over k in ascending order.
#pragma once
#include <stddef.h>

// Columns of a panel: three vectors of AVX-512, two of which feed each row's broadcast.
enum { PANEL = 48 };
