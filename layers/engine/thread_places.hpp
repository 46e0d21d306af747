#ifndef CAFFE_ENGINE_THREAD_PLACES_HPP_
#define CAFFE_ENGINE_THREAD_PLACES_HPP_

namespace caffe {
namespace engine {

// To be called before parallel regions; takes no time when nothing has changed. If OpenMP has as many threads as the process may
// use processors, each gets a processor of its own. Otherwise Linux may wake a thread on the processor of the one that waits for
// it, where it gets no time while that one spins: on two processors, a pass after a pause took up to ten times as long
// (benchmarks/pauses.py). The calling thread is only moved to its processor, not tied to it, as threads that it starts would be
// tied, too. Does nothing where the environment places threads (OMP_PROC_BIND, OMP_PLACES).
//
// Before a fork, the calling thread's OpenMP threads are ended: GNU's OpenMP would wait for them in the child, where they do not
// exist. Parent and child start threads of their own in their next parallel region.
void PlaceThreads();

}  // namespace engine
}  // namespace caffe

#endif  // CAFFE_ENGINE_THREAD_PLACES_HPP_
