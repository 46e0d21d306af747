// Times the convolutions of one training step of ResNet-44, with engine::Convolution and with oneDNN, alternating. The bound is
// the time of direct convolution at the speed of sgemm. convolution.sh compiles and runs this.
#include <cblas.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <vector>

#include "caffe/engine/convolution.hpp"
#include "caffe/engine/convolution_onednn.hpp"

using caffe::engine::ConvShape;
using caffe::engine::Convolution;

namespace {

double Seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Memory in huge pages, like the engine's activations.
struct Tensor {
  explicit Tensor(size_t size) {
    const size_t page = 2 << 20, bytes = (size * sizeof(float) + page - 1) / page * page;
    data = static_cast<float*>(aligned_alloc(page, bytes));
    madvise(data, bytes, MADV_HUGEPAGE);
    std::mt19937 random(size);
    std::uniform_real_distribution<float> uniform(-1, 1);
    for (size_t i = 0; i < size; ++i) data[i] = uniform(random);
  }
  ~Tensor() { free(data); }
  Tensor(const Tensor&) = delete;
  float* data;
};

// GFLOP/s of the best of five products of 1024 x 1024 matrices.
double SgemmSpeed() {
  const int n = 1024;
  Tensor a(n * n), b(n * n), c(n * n);
  double best = 1e9;
  for (int i = 0; i < 5; ++i) {
    const double start = Seconds();
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, n, n, 1, a.data, n, b.data, n, 0, c.data, n);
    best = std::min(best, Seconds() - start);
  }
  return 2e-9 * n * n * n / best;
}

struct Layers {
  const char* name;
  int count;
  ConvShape shape;
};

ConvShape Shape(int n, int ic, int size, int oc, int kernel, int stride) {
  const int pad = kernel / 2, out = size / stride;
  return ConvShape{n, ic, size, size, oc, out, out, kernel, kernel, stride, stride, pad, pad, 1, 1, 1};
}

}  // namespace

int main(int argc, char** argv) {
  const int repetitions = argc > 1 ? atoi(argv[1]) : 15;
  const int n = argc > 2 ? atoi(argv[2]) : 256;
  const Layers layers[] = {
      {"3 -> 16, 32 x 32", 1, Shape(n, 3, 32, 16, 3, 1)},
      {"16 -> 16, 32 x 32", 14, Shape(n, 16, 32, 16, 3, 1)},
      {"16 -> 32, stride 2", 1, Shape(n, 16, 32, 32, 3, 2)},
      {"16 -> 32, 1 x 1", 1, Shape(n, 16, 32, 32, 1, 2)},
      {"32 -> 32, 16 x 16", 13, Shape(n, 32, 16, 32, 3, 1)},
      {"32 -> 64, stride 2", 1, Shape(n, 32, 16, 64, 3, 2)},
      {"32 -> 64, 1 x 1", 1, Shape(n, 32, 16, 64, 1, 2)},
      {"64 -> 64, 8 x 8", 13, Shape(n, 64, 8, 64, 3, 1)},
  };
  printf("Batch %d, best (median) of %d, in ms and GFLOP/s of the direct sum\n", n, repetitions);
  printf("%-27s  %-22s%-22s%-22s%-22s\n", "", "forward", "backward data", "backward weights", "both gradients");
  double best[2] = {}, median[2] = {}, work = 0;
  for (const Layers& l : layers) {
    const ConvShape& s = l.shape;
    const size_t inputs = size_t(s.n) * s.ih * s.iw * s.ic, outputs = size_t(s.n) * s.oh * s.ow * s.oc;
    const size_t weights = size_t(s.oc) * s.ic * s.kh * s.kw;
    Tensor x(inputs), dx(inputs), y(outputs), dy(outputs), w(weights), dw(weights), bias(s.oc), db(s.oc);
    Convolution own(s);
    const std::unique_ptr<Convolution::Kernels> onednn(caffe::engine::NewOneDnnConvolution(s));
    const std::function<void()> passes[2][4] = {
        {[&] { own.Forward(x.data, w.data, bias.data, y.data); }, [&] { own.BackwardData(dy.data, w.data, dx.data); },
            [&] { own.BackwardWeights(x.data, dy.data, dw.data, db.data); },
            [&] { own.Backward(x.data, dy.data, w.data, dx.data, dw.data, db.data); }},
        {[&] { onednn->Forward(x.data, w.data, bias.data, y.data, NULL, NULL); },
            [&] { onednn->BackwardData(dy.data, w.data, dx.data); },
            [&] { onednn->BackwardWeights(x.data, dy.data, dw.data, db.data, NULL); },
            [&] { onednn->Backward(x.data, dy.data, w.data, dx.data, dw.data, db.data, NULL, NULL); }}};
    std::vector<double> times[2][4];
    for (int i = -1; i < repetitions; ++i) {
      for (int pass = 0; pass < 4; ++pass) {
        for (int which = 0; which < 2; ++which) {
          const double start = Seconds();
          passes[which][pass]();
          if (i >= 0) times[which][pass].push_back(Seconds() - start);
        }
      }
    }
    for (int which = 0; which < 2; ++which) {
      printf("%-18s %2d %-6s", which ? "" : l.name, l.count, which ? "oneDNN" : "ours");
      for (int pass = 0; pass < 4; ++pass) {
        std::vector<double>& t = times[which][pass];
        std::sort(t.begin(), t.end());
        const int sums = pass == 3 ? 2 : 1;
        printf("%7.2f (%6.2f) %4.0f ", t[0] * 1e3, t[t.size() / 2] * 1e3, sums * Flops(s) / t[0] * 1e-9);
        // A step: forward and both gradients, but without the gradient of the images.
        if (pass != 0 && pass != (s.ic == 3 ? 2 : 3)) continue;
        best[which] += l.count * t[0];
        median[which] += l.count * t[t.size() / 2];
        if (which == 0) work += l.count * sums * Flops(s);
      }
      printf("\n");
    }
  }
  const double speed = SgemmSpeed();
  printf("One step: ours %.3f s (%.3f), oneDNN %.3f s (%.3f), ratio %.2f; %.0f GFLOP by sgemm at %.0f GFLOP/s %.3f s\n",
      best[0], median[0], best[1], median[1], best[1] / best[0], work * 1e-9, speed, work * 1e-9 / speed);
}
