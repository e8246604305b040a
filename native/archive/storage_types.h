// The element types of torch storages: their class names in a pickle and their ScalarType.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <string_view>

namespace fltac {

struct StorageType {
  std::string_view class_name;  // of module "torch"
  at::ScalarType scalar;
};

constexpr std::array kStorageTypes = {
    StorageType{"FloatStorage", at::kFloat},       StorageType{"HalfStorage", at::kHalf},
    StorageType{"BFloat16Storage", at::kBFloat16}, StorageType{"DoubleStorage", at::kDouble},
    StorageType{"LongStorage", at::kLong},         StorageType{"IntStorage", at::kInt},
    StorageType{"ShortStorage", at::kShort},       StorageType{"CharStorage", at::kChar},
    StorageType{"ByteStorage", at::kByte},         StorageType{"BoolStorage", at::kBool},
};

}  // namespace fltac
