#include "caffe/engine/fused_pixels.hpp"

#include <algorithm>

#include "caffe/engine/vector_loops.hpp"

namespace caffe {
namespace engine {

namespace {

// Calls work(first float, number of floats) for the blocks of a run.
template <typename Work>
void ForBlocks(const Rows& rows, size_t count, const Work& work) {
  for (size_t i = 0; i < count; i += rows.block) work(i, std::min(rows.block, count - i));
}

}  // namespace

RecipeReader::RecipeReader(const InputRecipe* recipe, int channels) : recipe_(recipe), rows_(channels) {
  if (!recipe || !recipe->mean) return;
  mean_ = rows_.Row(recipe->mean);
  scale_ = rows_.Row(recipe->scale);
  shift_ = rows_.Row(recipe->shift);
}

void RecipeReader::Read(const float* x, size_t count, float* out) const {
  ForBlocks(rows_, count, [&](size_t i, size_t n) {
    if (!recipe_->mean) {
      ReluBlock(x + i, 0, n, out + i);
    } else if (recipe_->relu) {
      AffineReluBlock(x + i, mean_.data(), scale_.data(), shift_.data(), rows_.row, n, out + i);
    } else {
      AffineBlock(NULL, x + i, mean_.data(), scale_.data(), shift_.data(), rows_.row, n, out + i);
    }
  });
}

OutputFinisher::OutputFinisher(const float* bias, const OutputMoments* moments, int channels, int parts)
    : bias_(bias), moments_(moments), rows_(channels), zero_(rows_.row, 0), bias_row_(rows_.Row(bias)), one_(rows_.row, 1),
      sums_(rows_, moments ? parts : 0), squares_(rows_, moments ? parts : 0) {}

void OutputFinisher::Finish(int part, float* y, size_t count) {
  if (!bias_ && !moments_) return;
  ForBlocks(rows_, count, [&](size_t i, size_t n) {
    if (moments_) {
      MomentsBlock(y + i, zero_.data(), rows_.row, n, sums_.block(part), squares_.block(part));
      sums_.Flush(part);
      squares_.Flush(part);
    }
    if (bias_) AffineBlock(NULL, y + i, zero_.data(), one_.data(), bias_row_.data(), rows_.row, n, y + i);
  });
}

// As Winograd's: the variance is that of the results without their bias.
void OutputFinisher::WriteMoments(double pixels) {
  if (!moments_) return;
  const std::vector<double> sum = sums_.Total(), square = squares_.Total();
  for (int c = 0; c < rows_.channels; ++c) {
    const double mean = sum[c] / pixels, variance = square[c] / pixels - mean * mean;
    moments_->mean[c] = mean + (bias_ ? bias_[c] : 0);
    moments_->variance[c] = variance < 0 ? 0 : variance;  // NaN stays
  }
}

InputSummer::InputSummer(const InputRecipe* recipe, const InputGradientSums* sums, int channels, int parts)
    : recipe_(recipe), places_(sums), rows_(channels), sums_(rows_, sums ? parts : 0), products_(rows_, sums ? parts : 0) {
  if (!sums) return;
  mean_ = rows_.Row(recipe->mean);
  scale_ = rows_.Row(recipe->scale);
  shift_ = rows_.Row(recipe->shift);
}

void InputSummer::Add(int part, const float* x, const float* dx, size_t count) {
  if (!places_) return;
  Channels room(recipe_->relu ? rows_.block : 0);
  ForBlocks(rows_, count, [&](size_t i, size_t n) {
    const float* g = dx + i;
    if (recipe_->relu) {
      AffineMaskBlock(g, x + i, mean_.data(), scale_.data(), shift_.data(), 0, rows_.row, n, room.data());
      g = room.data();
    }
    ProductsBlock(g, x + i, mean_.data(), rows_.row, n, sums_.block(part), products_.block(part));
    sums_.Flush(part);
    products_.Flush(part);
  });
}

void InputSummer::Write() {
  if (!places_) return;
  const std::vector<double> sum = sums_.Total(), product = products_.Total();
  std::copy(sum.begin(), sum.end(), places_->of_gradient);
  std::copy(product.begin(), product.end(), places_->of_product);
}

BiasSummer::BiasSummer(float* db, int channels, int parts)
    : db_(db), rows_(channels), sums_(rows_, db ? parts : 0) {}

void BiasSummer::Add(int part, const float* dy, size_t count) {
  if (!db_) return;
  ForBlocks(rows_, count, [&](size_t i, size_t n) {
    SumBlock(dy + i, rows_.row, n, sums_.block(part));
    sums_.Flush(part);
  });
}

void BiasSummer::Write() {
  if (!db_) return;
  const std::vector<double> sum = sums_.Total();
  for (int c = 0; c < rows_.channels; ++c) db_[c] += sum[c];
}

}  // namespace engine
}  // namespace caffe
