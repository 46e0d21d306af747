// How long a value takes from one core to another and back, in nanoseconds, for each two cores that this process may use:
//     g++ -O2 -pthread benchmarks/core_distance.cpp -o /tmp/core_distance && /tmp/core_distance
// Cores that share a third-level cache need about 100, others several times as long. A virtual machine's cores may move.
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>
#include <vector>

namespace {

const int kTrips = 20000;

void RunOn(int core) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(core, &set);
  pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

// Two threads count in turns: one makes the counter odd, the other one even.
double RoundTrip(int here, int there) {
  alignas(128) std::atomic<int> counter(0);
  std::thread other([&] {
    RunOn(there);
    for (int i = 0; i < kTrips; ++i) {
      while (counter.load(std::memory_order_acquire) != 2 * i + 1) {}
      counter.store(2 * i + 2, std::memory_order_release);
    }
  });
  RunOn(here);
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < kTrips; ++i) {
    counter.store(2 * i + 1, std::memory_order_release);
    while (counter.load(std::memory_order_acquire) != 2 * i + 2) {}
  }
  const std::chrono::duration<double, std::nano> time = std::chrono::steady_clock::now() - start;
  other.join();
  return time.count() / kTrips;
}

}  // namespace

int main() {
  cpu_set_t usable;
  sched_getaffinity(0, sizeof(usable), &usable);
  std::vector<int> cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &usable)) cores.push_back(core);
  }
  for (int here : cores) {
    for (int there : cores) {
      if (there <= here) continue;
      std::vector<double> times;
      for (int i = 0; i < 5; ++i) times.push_back(RoundTrip(here, there));
      std::sort(times.begin(), times.end());
      printf("cores %d and %d: %.0f ns\n", here, there, times[times.size() / 2]);
    }
  }
}
