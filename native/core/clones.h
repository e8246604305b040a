// Function multiversioning: one build holds AVX-512, AVX2 and baseline versions of a hot loop, chosen when it
// is loaded, so that a binary is fast on the machine it runs on without being built for it.
#pragma once

#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(FLTAC_NO_CLONES)
#define FLTAC_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FLTAC_CLONES
#endif
