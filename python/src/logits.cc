#include "python/src/logits.h"

#include <limits>

#include "python/src/errors.h"
#include "src/base/strings.h"

namespace countermark::python {
namespace {

template <typename Array>
void CheckDevice(const Array& array, const char* name, int32_t device) {
  const int type = array.device_type();
  if (device == COUNTERMARK_CPU) {
    if (type != nb::device::cpu::value) Raise("InvalidArgumentError", Cat(name, " is not on the host, and the hook is"));
  } else if ((type != nb::device::cuda::value || array.device_id() != device) && type != nb::device::cuda_managed::value) {
    Raise("InvalidArgumentError", Cat(name, " is not on CUDA device ", device, ", and the hook is"));
  }
}

template <typename Array>
void Check(const Array& array, const char* name, nb::dlpack::dtype_code code, int bits, int32_t rows, int32_t device) {
  CheckDevice(array, name, device);
  const nb::dlpack::dtype type = array.dtype();
  if (type.code != static_cast<uint8_t>(code) || type.bits != bits || type.lanes != 1) {
    const char* kind = code == nb::dlpack::dtype_code::Float ? "float" : code == nb::dlpack::dtype_code::UInt ? "uint" : "int";
    Raise("InvalidArgumentError", Cat(name, " must be of ", kind, bits));
  }
  if (array.ndim() != 1 || array.shape(0) != static_cast<size_t>(rows) || (rows > 1 && array.stride(0) != 1)) {
    Raise("InvalidArgumentError", Cat(name, " must be one dimension of ", rows, " elements side by side"));
  }
}

}  // namespace

template <typename Array>
void SetLogits(const Array& logits, int32_t device, countermark_batch* batch) {
  CheckDevice(logits, "logits", device);
  const nb::dlpack::dtype type = logits.dtype();
  const bool is_float = type.code == static_cast<uint8_t>(nb::dlpack::dtype_code::Float) && type.lanes == 1;
  if (is_float && type.bits == 32) {
    batch->dtype = COUNTERMARK_F32;
  } else if (is_float && type.bits == 16) {
    batch->dtype = COUNTERMARK_F16;
  } else if (type.code == static_cast<uint8_t>(nb::dlpack::dtype_code::Bfloat) && type.bits == 16 && type.lanes == 1) {
    batch->dtype = COUNTERMARK_BF16;
  } else {
    Raise("InvalidArgumentError", "logits must be of float32, float16 or bfloat16");
  }
  const size_t dimensions = logits.ndim();
  if (dimensions != 1 && dimensions != 2) Raise("InvalidArgumentError", Cat("logits has ", dimensions, " dimensions; rows × columns are expected, or one row"));
  const size_t rows = dimensions == 1 ? 1 : logits.shape(0);
  const size_t columns = logits.shape(dimensions - 1);
  constexpr size_t kMost = std::numeric_limits<int32_t>::max();
  if (rows > kMost || columns > kMost) Raise("InvalidArgumentError", "logits is too large");
  if (columns > 1 && logits.stride(dimensions - 1) != 1) Raise("InvalidArgumentError", "the logits of a row must lie side by side");
  batch->rows = static_cast<int32_t>(rows);
  batch->columns = static_cast<int32_t>(columns);
  batch->row_stride = rows > 1 ? logits.stride(0) : static_cast<int64_t>(columns);  // a single row's stride may be anything
  batch->logits = const_cast<void*>(static_cast<const void*>(logits.data()));      // sample only reads it
}

template void SetLogits(const AnyArray&, int32_t, countermark_batch*);
template void SetLogits(const ReadArray&, int32_t, countermark_batch*);

void* DataOf(const AnyArray& array, const char* name, nb::dlpack::dtype_code code, int bits, int32_t rows, int32_t device) {
  Check(array, name, code, bits, rows, device);
  return static_cast<void*>(array.data());
}

const void* DataOf(const ReadArray& array, const char* name, nb::dlpack::dtype_code code, int bits, int32_t rows, int32_t device) {
  Check(array, name, code, bits, rows, device);
  return static_cast<const void*>(array.data());
}

}  // namespace countermark::python
