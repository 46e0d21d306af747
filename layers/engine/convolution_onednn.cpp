#include "caffe/engine/convolution_onednn.hpp"

#ifdef USE_ONEDNN

#include <dnnl.hpp>

#include <unordered_map>

namespace caffe {
namespace engine {

namespace {

typedef dnnl::memory::format_tag Tag;

dnnl::engine& Engine() {
  static dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

// One for each thread: two solvers may step at the same time.
dnnl::stream& Stream() {
  static thread_local dnnl::stream stream(Engine());
  return stream;
}

dnnl::memory Wrap(const dnnl::memory::desc& desc, const float* data) {
  return dnnl::memory(desc, Engine(), const_cast<float*>(data));
}

// How to make a primitive. oneDNN 2 wants the arguments in an object of their own, which oneDNN 3 no longer has.
#if DNNL_VERSION_MAJOR >= 3
template <typename Primitive, typename... Arguments>
typename Primitive::primitive_desc Describe(const Arguments&... arguments) {
  return typename Primitive::primitive_desc(Engine(), arguments...);
}

template <typename Primitive, typename... Arguments>
typename Primitive::primitive_desc DescribeBackward(const dnnl::convolution_forward::primitive_desc& forward,
    const Arguments&... arguments) {
  return typename Primitive::primitive_desc(Engine(), arguments..., forward);
}
#else
template <typename Primitive, typename... Arguments>
typename Primitive::primitive_desc Describe(const Arguments&... arguments) {
  return typename Primitive::primitive_desc(typename Primitive::desc(arguments...), Engine());
}

template <typename Primitive, typename... Arguments>
typename Primitive::primitive_desc DescribeBackward(const dnnl::convolution_forward::primitive_desc& forward,
    const Arguments&... arguments) {
  return typename Primitive::primitive_desc(typename Primitive::desc(arguments...), Engine(), forward);
}
#endif

// The primitives are made when they are first wanted: a net that only tests needs no backward ones.
class OneDnnConvolution : public Convolution::Kernels {
 public:
  explicit OneDnnConvolution(const ConvShape& s)
      : x_(Desc({s.n, s.ic, s.ih, s.iw}, Tag::nhwc)),
        y_(Desc({s.n, s.oc, s.oh, s.ow}, Tag::nhwc)),
        bias_(Desc({s.oc}, Tag::x)),
        w_(Desc(WeightDims(s), s.groups > 1 ? Tag::goihw : Tag::oihw)),
        any_w_(Desc(WeightDims(s), Tag::any)),
        strides_({s.stride_h, s.stride_w}),
        dilations_({s.dilation_h - 1, s.dilation_w - 1}),
        pad_({s.pad_h, s.pad_w}),
        pad_end_({PadEnd(s.oh, s.stride_h, s.kh, s.dilation_h, s.ih, s.pad_h),
            PadEnd(s.ow, s.stride_w, s.kw, s.dilation_w, s.iw, s.pad_w)}) {}

  void Forward(const float* x, const float* w, const float* bias, float* y, const InputRecipe*, const OutputMoments*) {
    ForwardPass& pass = bias ? biased_ : plain_;
    if (!pass.primitive) {
      pass.desc = ForwardDesc(bias != NULL);
      pass.primitive = dnnl::convolution_forward(pass.desc);
    }
    std::unordered_map<int, dnnl::memory> arguments = {{DNNL_ARG_SRC, Wrap(x_, x)},
        {DNNL_ARG_WEIGHTS, ToLayout(pass.desc.weights_desc(), w, &pass.filters)}, {DNNL_ARG_DST, Wrap(y_, y)}};
    if (bias) arguments.insert({DNNL_ARG_BIAS, Wrap(bias_, bias)});
    Run(pass.primitive, arguments);
  }

  void KeepFilters() {
    plain_.filters.Keep();
    biased_.filters.Keep();
  }

  void TellWeights(bool same) {
    plain_.filters.Tell(same);
    biased_.filters.Tell(same);
  }

  void BackwardData(const float* dy, const float* w, float* dx) {
    if (!data_) {
      data_desc_ = DescribeBackward<dnnl::convolution_backward_data>(ForwardDesc(false),
          dnnl::algorithm::convolution_direct, x_, any_w_, y_, strides_, dilations_, pad_, pad_end_);
      data_ = dnnl::convolution_backward_data(data_desc_);
    }
    Filters filters;
    Run(data_, {{DNNL_ARG_DIFF_DST, Wrap(y_, dy)}, {DNNL_ARG_WEIGHTS, ToLayout(data_desc_.weights_desc(), w, &filters)},
        {DNNL_ARG_DIFF_SRC, Wrap(x_, dx)}});
  }

  void BackwardWeights(const float* x, const float* dy, float* dw, float* db, const InputRecipe*) {
    WeightsPass& pass = db ? biased_weights_ : weights_;
    if (!pass.primitive) {
      pass.desc = WeightsDesc(db != NULL);
      pass.primitive = dnnl::convolution_backward_weights(pass.desc);
    }
    dnnl::memory gradient(pass.desc.diff_weights_desc(), Engine()), bias_gradient(bias_, Engine());
    std::unordered_map<int, dnnl::memory> arguments = {{DNNL_ARG_SRC, Wrap(x_, x)}, {DNNL_ARG_DIFF_DST, Wrap(y_, dy)},
        {DNNL_ARG_DIFF_WEIGHTS, gradient}};
    if (db) arguments.insert({DNNL_ARG_DIFF_BIAS, bias_gradient});
    Run(pass.primitive, arguments);
    dnnl::memory plain(w_, Engine());
    dnnl::reorder(gradient, plain).execute(Stream(), gradient, plain);
    Stream().wait();
    Add(plain, dw);
    if (db) Add(bias_gradient, db);
  }

 private:
  struct ForwardPass {
    dnnl::convolution_forward::primitive_desc desc;
    dnnl::primitive primitive;
    Filters filters;
  };
  struct WeightsPass {
    dnnl::convolution_backward_weights::primitive_desc desc;
    dnnl::primitive primitive;
  };

  static dnnl::memory::desc Desc(const dnnl::memory::dims& dims, Tag tag) {
    return dnnl::memory::desc(dims, dnnl::memory::data_type::f32, tag);
  }

  static dnnl::memory::dims WeightDims(const ConvShape& s) {
    if (s.groups == 1) return {s.oc, s.ic, s.kh, s.kw};
    return {s.groups, s.oc / s.groups, s.ic / s.groups, s.kh, s.kw};
  }

  // What oneDNN wants at the end of an axis; negative where the stride leaves the last inputs out.
  static int PadEnd(int out, int stride, int kernel, int dilation, int in, int pad) {
    return (out - 1) * stride + (kernel - 1) * dilation + 1 - in - pad;
  }

  // An empty descriptor stands for no bias.
  dnnl::memory::desc BiasDesc(bool bias) const { return bias ? bias_ : dnnl::memory::desc(); }

  dnnl::convolution_forward::primitive_desc ForwardDesc(bool bias) const {
    return Describe<dnnl::convolution_forward>(dnnl::prop_kind::forward_training, dnnl::algorithm::convolution_direct,
        x_, any_w_, BiasDesc(bias), y_, strides_, dilations_, pad_, pad_end_);
  }

  dnnl::convolution_backward_weights::primitive_desc WeightsDesc(bool bias) const {
    return DescribeBackward<dnnl::convolution_backward_weights>(ForwardDesc(bias),
        dnnl::algorithm::convolution_direct, x_, any_w_, BiasDesc(bias), y_, strides_, dilations_, pad_, pad_end_);
  }

  static void Add(const dnnl::memory& from, float* to) {
    const float* data = static_cast<const float*>(from.get_data_handle());
    for (size_t i = 0; i < from.get_desc().get_size() / sizeof(float); ++i) to[i] += data[i];
  }

  // The weights as the primitive wants them.
  dnnl::memory ToLayout(const dnnl::memory::desc& desc, const float* w, Filters* filters) const {
    dnnl::memory plain = Wrap(w_, w);
    if (desc == w_) return plain;
    bool laid_out;
    dnnl::memory result = Wrap(desc, filters->Take(w, w_.get_size() / sizeof(float), desc.get_size() / sizeof(float),
        &laid_out));
    if (!laid_out) dnnl::reorder(plain, result).execute(Stream(), plain, result);
    return result;
  }

  static void Run(const dnnl::primitive& primitive, const std::unordered_map<int, dnnl::memory>& arguments) {
    primitive.execute(Stream(), arguments);
    Stream().wait();
  }

  const dnnl::memory::desc x_, y_, bias_, w_, any_w_;
  const dnnl::memory::dims strides_, dilations_, pad_, pad_end_;
  ForwardPass plain_, biased_;
  dnnl::convolution_backward_data::primitive_desc data_desc_;
  dnnl::primitive data_;
  WeightsPass weights_, biased_weights_;
};

}  // namespace

// With dilation 0 all taps of a filter see one pixel, which oneDNN refuses. A padding that is out of proportion to the image
// takes its kernels as long as an image of that size would.
bool OneDnnSupports(const ConvShape& s) {
  return s.dilation_h > 0 && s.dilation_w > 0 && InProportion(PaddedSize(s), s, 64);
}

Convolution::Kernels* NewOneDnnConvolution(const ConvShape& shape) { return new OneDnnConvolution(shape); }

}  // namespace engine
}  // namespace caffe

#else

namespace caffe {
namespace engine {

bool OneDnnSupports(const ConvShape&) { return false; }

Convolution::Kernels* NewOneDnnConvolution(const ConvShape&) { return NULL; }

}  // namespace engine
}  // namespace caffe

#endif
