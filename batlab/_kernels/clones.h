/* Portable wheel, best instruction set picked at load time: put BATLAB_CLONES on the C function that holds the loop. */
#ifndef BATLAB_CLONES_H
#define BATLAB_CLONES_H
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && !defined(BATLAB_NO_CLONES)
#define BATLAB_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define BATLAB_CLONES
#endif
#endif
