#ifndef CAFFE_ENGINE_FOR_EACH_PROCESSOR_HPP_
#define CAFFE_ENGINE_FOR_EACH_PROCESSOR_HPP_

// Before a function: the compiler makes a version for each generation of processors, and the loader picks.
// By what the processor can do (AVX-512; AVX2 and FMA), not by its maker's names: an AMD processor is no "haswell".
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12
#define FOR_EACH_PROCESSOR __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#elif defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define FOR_EACH_PROCESSOR __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FOR_EACH_PROCESSOR
#endif

// For all that follows in a file: nobody looks at the exception flags of floating-point operations. Otherwise a loop that
// chooses between two values would stay a loop of branches with AVX2.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-trapping-math")
#endif

#endif  // CAFFE_ENGINE_FOR_EACH_PROCESSOR_HPP_
