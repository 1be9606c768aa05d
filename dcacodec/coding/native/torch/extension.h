// What torchac's C++ file uses of PyTorch and pybind11, over plain memory: with this folder first among the include
// folders, that file compiles in a second, without the headers of PyTorch or Python.

#pragma once

#include <cassert>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

// A complete statement, as that file does not always write the semicolon.
#define TORCH_CHECK(condition, message) \
    if (!(condition)) { throw std::invalid_argument(message); }

// The body lists functions for Python, which are called through C instead.
#define PYBIND11_MODULE(name, module) static inline void python_module(Module& module)

struct Module {
    template <typename Function>
    void def(const char*, Function, const char*) {}
};

namespace py {
using bytes = std::string;
}

namespace torch {

enum ScalarType { kShort };

/** Row-major int16 values; copies share their memory. */
class Tensor {
    std::shared_ptr<int16_t> memory_;
    std::vector<int64_t> sizes_;

public:
    Tensor(std::shared_ptr<int16_t> memory, std::vector<int64_t> sizes) : memory_(memory), sizes_(sizes) {}

    const std::vector<int64_t>& sizes() const { return sizes_; }
    bool is_cuda() const { return false; }

    template <typename T>
    struct Accessor {
        T* values;
        T* data() const { return values; }
        T& operator[](int64_t index) const { return values[index]; }
    };
    template <typename T, int>
    Accessor<T> accessor() const { return {memory_.get()}; }
};

inline Tensor empty(std::initializer_list<int64_t> sizes, ScalarType) {
    int64_t count = 1;
    for (const int64_t size : sizes) count *= size;
    return Tensor(std::shared_ptr<int16_t>(new int16_t[count], std::default_delete<int16_t[]>()), sizes);
}

}  // namespace torch
