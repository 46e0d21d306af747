#include "caffe/engine/thread_places.hpp"

#ifdef _OPENMP
#include <omp.h>
#endif
#include <pthread.h>
#include <sched.h>

#include <cstdlib>
#include <vector>

namespace caffe {
namespace engine {

#ifdef _OPENMP

namespace {

thread_local int placed = 1, own = -1;  // for how many threads places were sought; the calling thread's processor, or -1

#if __GNUC__ >= 9
void EndThreads() {
  omp_pause_resource_all(omp_pause_hard);
  placed = 1;
}

const int registered = pthread_atfork(EndThreads, NULL, NULL);
#endif

// The calling thread. If the system refuses, it places the thread as ever.
void Tie(int processor) {
  cpu_set_t own;
  CPU_ZERO(&own);
  CPU_SET(processor, &own);
  sched_setaffinity(0, sizeof(own), &own);
}

// Ties all threads but the calling one. Returns the processor that is left for that, or -1 if no thread was tied.
int TieOthers() {
  const int here = sched_getcpu();
  cpu_set_t all;
  if (getenv("OMP_PROC_BIND") || omp_get_proc_bind() != omp_proc_bind_false) return -1;
  if (here < 0 || sched_getaffinity(0, sizeof(all), &all) != 0 || CPU_COUNT(&all) != omp_get_max_threads()) return -1;
  std::vector<int> processors(1, here);
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &all) && i != here) processors.push_back(i);
  }
#pragma omp parallel
  if (omp_get_thread_num() > 0) Tie(processors[omp_get_thread_num()]);
  return here;
}

}  // namespace

void PlaceThreads() {
  if (omp_get_max_threads() != placed) {
    placed = omp_get_max_threads();
    own = TieOthers();
  }
  if (own < 0 || sched_getcpu() == own) return;
  cpu_set_t all;
  if (sched_getaffinity(0, sizeof(all), &all) != 0 || !CPU_ISSET(own, &all)) return;
  Tie(own);
  sched_setaffinity(0, sizeof(all), &all);
}

#else

void PlaceThreads() {}

#endif

}  // namespace engine
}  // namespace caffe
