#include "caffe/engine/pointwise.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "caffe/engine/convolution_scratch.hpp"
#include "caffe/engine/convolution_vector.hpp"
#include "caffe/engine/fused_pixels.hpp"
#include "caffe/engine/matrix_product.hpp"
#include "caffe/engine/panels.hpp"

namespace caffe {
namespace engine {

namespace {

// How many rows of k columns fit the second-level cache as the first factor of a product in panels.
long BlockRows(int k) { return std::min(192L, std::max(48L, (1L << 16) / k)); }

// A matrix of weights as the second factor of products: in panels for registers of so many lanes, or 0, as the library reads it.
class Weights {
 public:
  Weights(int rows, int columns, int lanes) : rows_(rows), columns_(columns), lanes_(lanes) {}

  // Lays out the elements w[row * row_stride + column * column_stride]. All threads share the work.
  void LayOut(const float* w, long row_stride, long column_stride, float* to) const;

  // c (m x columns, of all in this matrix those from `first` on) = a (m x rows) times these columns + bias, which may be NULL.
  void Multiply(long m, const float* a, const float* laid_out, int first, int columns, const float* bias, float* c) const;

 private:
  const int rows_, columns_, lanes_;
};

void Weights::LayOut(const float* w, long row_stride, long column_stride, float* to) const {
  const int kTogether = 16;  // for the library: columns whose next rows are still in the cache
  const int panel = lanes_ ? PanelColumns(lanes_) : kTogether;
#pragma omp for schedule(static)
  for (int first = 0; first < columns_; first += panel) {
    const int width = std::min(panel, columns_ - first);
    for (int r = 0; r < rows_; ++r) {
      float* row = to + (lanes_ ? long(first) * rows_ + long(r) * width : long(r) * columns_ + first);
      for (int c = 0; c < width; ++c) row[c] = w[r * row_stride + (first + c) * column_stride];
    }
  }
}

void Weights::Multiply(long m, const float* a, const float* laid_out, int first, int columns, const float* bias,
    float* c) const {
  if (!lanes_) {
    const Factor weights = {laid_out + first, columns_, false};
    return MatrixProduct(m, columns, rows_, Factor{a, rows_, false}, weights, false, c + first, columns_);
  }
  const auto multiply = lanes_ == kLanesOfAvx512 ? MultiplyPanels<kLanesOfAvx512> : MultiplyPanels<kLanesOfAvx2>;
  const long block = BlockRows(rows_);
  for (long i = 0; i < m; i += block) {
    multiply(std::min(block, m - i), columns, rows_, a + i * rows_, laid_out + long(first) * rows_, bias ? bias + first : NULL,
        c + i * columns_ + first, columns_);
  }
}

// Where x's pixels are that the filters meet.
long InputPixel(const ConvShape& s, long pixel) {
  const long row = pixel / s.ow, image = row / s.oh;
  return (image * s.ih + row % s.oh * s.stride_h) * s.iw + pixel % s.ow * s.stride_w;
}

void Gather(const ConvShape& s, const float* x, long first, long count, float* to) {
  for (long p = 0; p < count; ++p) memcpy(to + p * s.ic, x + InputPixel(s, first + p) * s.ic, s.ic * sizeof(float));
}

void Scatter(const ConvShape& s, const float* from, long first, long count, float* x) {
  for (long p = 0; p < count; ++p) memcpy(x + InputPixel(s, first + p) * s.ic, from + p * s.ic, s.ic * sizeof(float));
}

long Quotient(long a, long b) { return (a + b - 1) / b; }  // rounded up

// Of fewer pixels the library makes a product at once, with all threads: laying out filters for them would be as much work. If
// the filters are laid out for many passes, that limit is lower.
enum { kFewPixels = 2048, kFewPixelsForPanels = 16 };

// With AVX-512 the library is faster than kernels of eight lanes.
int FastestLanes(const ConvShape& s) {
  const int widest = HasVectors(kLanesOfAvx512) ? kLanesOfAvx512 : kLanesOfAvx2;
  return Pointwise::SupportsLanes(s, widest) ? widest : 0;
}

}  // namespace

// How the pixels are cut.
struct Pointwise::Chunks {
  Chunks(long pixels, long size) : pixels(pixels), size(size), number(Quotient(pixels, size)) {}
  long first(int i) const { return i * size; }
  long count(int i) const { return std::min(size, pixels - first(i)); }

  const long pixels, size;
  const int number;
};

bool Pointwise::Supports(const ConvShape& s) {
  return HasVectors() && s.kh == 1 && s.kw == 1 && s.pad_h == 0 && s.pad_w == 0 && s.groups == 1;
}

bool Pointwise::SupportsLanes(const ConvShape& s, int lanes) {
  return HasVectors(lanes) && s.ic % lanes == 0 && s.oc % lanes == 0;
}

Pointwise::Pointwise(const ConvShape& s) : Pointwise(s, FastestLanes(s)) {}

Pointwise::Pointwise(const ConvShape& s, int lanes)
    : shape_(s), pixels_(long(s.n) * s.oh * s.ow), strided_(s.stride_h > 1 || s.stride_w > 1), lanes_(lanes) {}

// The library lays its factors out anew for each product: with fewer pixels, that is as much work.
Pointwise::Chunks Pointwise::BackwardChunks() const {
  const long size = std::min(1024L, std::max(256L, (1L << 18) / (shape_.ic + shape_.oc)));
  return Chunks(pixels_, std::min(size, Quotient(pixels_, ThreadCount())));
}

Pointwise::Chunks Pointwise::ForwardChunks() const {
  if (by_library()) return BackwardChunks();
  const long number = Quotient(pixels_, BlockRows(shape_.ic));
  const int rows = PanelRows(lanes_);
  return Chunks(pixels_, Quotient(Quotient(pixels_, number), rows) * rows);  // of equal size
}

bool Pointwise::Fuses() const {
  return pixels_ >= (by_library() || !filters_.kept() ? kFewPixels : kFewPixelsForPanels);
}

bool Pointwise::copies_inputs(const RecipeReader& reader) const { return reader || strided_; }

// The inputs of some pixels, their recipe carried out: in `room`, unless they are the values of x.
const float* Pointwise::Inputs(const RecipeReader& reader, const float* x, long first, long count, float* room) const {
  const float* in = x + first * shape_.ic;
  if (strided_) {
    Gather(shape_, x, first, count, room);
    in = room;
  }
  if (reader) {
    reader.Read(in, count * shape_.ic, room);
    in = room;
  }
  return in;
}

// The same of all pixels, made by all threads, in the shared scratch.
const float* Pointwise::AllInputs(const RecipeReader& reader, const float* x, const Chunks& chunks) const {
  if (!copies_inputs(reader)) return x;
  float* room = SharedScratch().Get(pixels_ * shape_.ic);
#pragma omp parallel for schedule(static)
  for (int i = 0; i < chunks.number; ++i) {
    Inputs(reader, x, chunks.first(i), chunks.count(i), room + chunks.first(i) * shape_.ic);
  }
  return room;
}

void Pointwise::Forward(const float* x, const float* w, const float* bias, float* y, const InputRecipe* recipe,
    const OutputMoments* moments) {
  const int ic = shape_.ic, oc = shape_.oc;
  const Chunks chunks = ForwardChunks();
  const RecipeReader reader(recipe, ic);
  const bool bias_in_product = Fuses() && !by_library() && !moments;
  OutputFinisher finisher(bias_in_product ? NULL : bias, moments, oc, chunks.number);
  const auto finish = [&](int i) { finisher.Finish(i, y + chunks.first(i) * oc, chunks.count(i) * oc); };
  if (!Fuses()) {
    const Factor inputs = {AllInputs(reader, x, chunks), ic, false}, weights = {w, ic, true};
    MatrixProduct(pixels_, oc, ic, inputs, weights, false, y, oc);
#pragma omp parallel for schedule(static)
    for (int i = 0; i < chunks.number; ++i) finish(i);
    return finisher.WriteMoments(pixels_);
  }

  // If there are too few chunks for all threads, a task is only a part of a chunk's output channels.
  enum { kTasks = 4, kFewColumns = 64 };  // of a thread; of a task
  const long wanted = by_library() ? 1 : Quotient(kTasks * ThreadCount(), chunks.number);
  const int tasks = std::max(1L, std::min(wanted, long(oc / kFewColumns)));
  const int panel = by_library() ? 1 : PanelColumns(lanes_);
  const int columns = Quotient(Quotient(oc, tasks), panel) * panel;  // of a task
  const Weights weights(ic, oc, lanes_);
  bool laid_out;
  float* filters = filters_.Take(w, size_t(ic) * oc, size_t(ic) * oc, &laid_out);
  const ThreadRooms rooms(copies_inputs(reader) ? chunks.size * ic : 0);
#pragma omp parallel
  {
    if (!laid_out) weights.LayOut(w, 1, ic, filters);
#pragma omp for schedule(static)
    for (int task = 0; task < chunks.number * tasks; ++task) {
      const int i = task / tasks, column = task % tasks * columns;
      const long first = chunks.first(i), count = chunks.count(i);
      if (column >= oc) continue;
      const float* in = Inputs(reader, x, first, count, rooms.Mine());
      weights.Multiply(count, in, filters, column, std::min(columns, oc - column), bias_in_product ? bias : NULL,
          y + first * oc);
      if (tasks == 1) finish(i);
    }
    if (tasks > 1) {
#pragma omp for schedule(static)
      for (int i = 0; i < chunks.number; ++i) finish(i);
    }
  }
  finisher.WriteMoments(pixels_);
}

// What a backward pass reads and writes.
struct Pointwise::Gradients {
  const float *x, *dy, *w;
  float *dx, *dw;
  const RecipeReader& reader;
  const Chunks chunks;
  BiasSummer* biases;
  InputSummer* inputs;  // NULL: none of its sums are wanted
};

void Pointwise::Backward(const float* x, const float* dy, const float* w, float* dx, float* dw, float* db,
    const InputRecipe* recipe, const InputGradientSums* sums, const GradientRecipe*) {
  const Chunks chunks = BackwardChunks();
  const RecipeReader reader(recipe, shape_.ic);
  BiasSummer biases(db, shape_.oc, chunks.number);
  InputSummer inputs(recipe, sums, shape_.ic, chunks.number);
  const Gradients g = {x, dy, w, dx, dw, reader, chunks, &biases, sums ? &inputs : NULL};
  if (dx && strided_) {
    const size_t image_size = size_t(shape_.ih) * shape_.iw * shape_.ic;
#pragma omp parallel for schedule(static)
    for (int image = 0; image < shape_.n; ++image) memset(dx + image * image_size, 0, image_size * sizeof(float));
  }
  if (pixels_ < kFewPixels) {
    BackwardAtOnce(g);
  } else {
    BackwardInChunks(g);
  }
  biases.Write();
  inputs.Write();
}

void Pointwise::BackwardAtOnce(const Gradients& g) {
  const int ic = shape_.ic, oc = shape_.oc;
  if (g.dw) {
    const Factor inputs = {AllInputs(g.reader, g.x, g.chunks), ic, false};
    MatrixProduct(oc, ic, pixels_, Factor{g.dy, oc, true}, inputs, true, g.dw, ic);
  }
  float* gradients = g.dx && strided_ ? SharedScratch().Get(pixels_ * ic) : g.dx;
  if (g.dx) MatrixProduct(pixels_, ic, oc, Factor{g.dy, oc, false}, Factor{g.w, ic, false}, false, gradients, ic);
  const ThreadRooms rooms(strided_ ? g.chunks.size * ic : 0);
#pragma omp parallel for schedule(static)
  for (int i = 0; i < g.chunks.number; ++i) {
    FinishGradients(g, i, g.dx ? gradients + g.chunks.first(i) * ic : NULL, rooms.Mine());
  }
}

void Pointwise::BackwardInChunks(const Gradients& g) {
  const int ic = shape_.ic, oc = shape_.oc, shares = ThreadCount();
  const Weights weights(oc, ic, lanes_);
  const size_t size = size_t(ic) * oc, room_size = g.chunks.size * ic;
  const bool lays_out = g.dx && !by_library();
  float* panels = SharedScratch().Get(size * (shares + 1));
  float* totals = panels + size;  // of dw, one for each share of the chunks
  const float* filters = lays_out ? panels : g.w;
  const ThreadRooms rooms(room_size * (strided_ ? 2 : copies_inputs(g.reader)));  // for inputs, and for gradients
#pragma omp parallel num_threads(shares)
  {
    if (lays_out) weights.LayOut(g.w, ic, 1, panels);
#pragma omp for schedule(static)
    for (int share = 0; share < shares; ++share) {
      float* total = totals + share * size;
      const int begin = long(g.chunks.number) * share / shares, end = long(g.chunks.number) * (share + 1) / shares;
      if (g.dw && begin == end) memset(total, 0, size * sizeof(float));
      for (int i = begin; i < end; ++i) {
        const long first = g.chunks.first(i), count = g.chunks.count(i);
        const float* out = g.dy + first * oc;
        float* room = rooms.Mine();
        if (g.dw) {
          const float* in = Inputs(g.reader, g.x, first, count, room);
          MatrixProduct(oc, ic, count, Factor{out, oc, true}, Factor{in, ic, false}, i > begin, total, ic);
        }
        float* gradients = !g.dx ? NULL : strided_ ? room + room_size : g.dx + first * ic;
        if (g.dx) weights.Multiply(count, out, filters, 0, ic, NULL, gradients);
        FinishGradients(g, i, gradients, room);
      }
    }
    if (g.dw) {
#pragma omp for schedule(static)
      for (long i = 0; i < long(size); ++i) {
        for (int share = 0; share < shares; ++share) g.dw[i] += totals[share * size + i];
      }
    }
  }
}

// Takes the sums of a chunk. `gradients`: those at its inputs, or NULL; `room`: for its inputs if the stride puts them apart.
void Pointwise::FinishGradients(const Gradients& g, int chunk, const float* gradients, float* room) const {
  const int ic = shape_.ic, oc = shape_.oc;
  const long first = g.chunks.first(chunk), count = g.chunks.count(chunk);
  g.biases->Add(chunk, g.dy + first * oc, count * oc);
  if (!gradients) return;
  if (g.inputs) {
    const RecipeReader as_they_are(NULL, ic);
    g.inputs->Add(chunk, Inputs(as_they_are, g.x, first, count, room), gradients, count * ic);
  }
  if (strided_) Scatter(shape_, gradients, first, count, g.dx);
}

}  // namespace engine
}  // namespace caffe
