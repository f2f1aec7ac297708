// Arrays of Python's that a batch points into: numpy's, torch's, whatever speaks DLPack or the buffer protocol. Nothing is copied; the arrays live as
// long as the call.
#ifndef COUNTERMARK_PYTHON_SRC_LOGITS_H_
#define COUNTERMARK_PYTHON_SRC_LOGITS_H_

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include "countermark/countermark.h"

namespace countermark::python {

namespace nb = nanobind;

using AnyArray = nb::ndarray<>;
using ReadArray = nb::ndarray<nb::ro>;

// Sets logits, dtype, rows, columns and row_stride. One row may be an array of one dimension. InvalidArgumentError: another element type than float32,
// float16 and bfloat16, another device than the hook's, elements of a row that do not lie side by side.
template <typename Array>
void SetLogits(const Array& logits, int32_t device, countermark_batch* batch);

// The data of an array of `rows` integers or floats of the given kind and bits, side by side, on the hook's device.
void* DataOf(const AnyArray& array, const char* name, nb::dlpack::dtype_code code, int bits, int32_t rows, int32_t device);
const void* DataOf(const ReadArray& array, const char* name, nb::dlpack::dtype_code code, int bits, int32_t rows, int32_t device);

}  // namespace countermark::python

#endif  // COUNTERMARK_PYTHON_SRC_LOGITS_H_
