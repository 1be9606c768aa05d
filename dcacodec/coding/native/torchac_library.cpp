// torchac's coder as a library with C functions. Its C++ file is that of the installed package torchac.

#include <algorithm>

#include <torchac_backend.cpp>

#ifdef _WIN32
#define EXPORTED extern "C" __declspec(dllexport)
#else
#define EXPORTED extern "C" __attribute__((visibility("default")))
#endif

/** A tensor over memory of the caller. */
static torch::Tensor view(const int16_t* values, std::vector<int64_t> sizes) {
    return torch::Tensor(std::shared_ptr<int16_t>(const_cast<int16_t*>(values), [](int16_t*) {}), sizes);
}

/**
 * Encode `count` symbols to at most `capacity` bytes at `out`.
 *
 * cdf: (count, columns) row-major, a row for each symbol.
 * Returns the number of bytes, which are not written if they are more than `capacity`; -1 without memory.
 */
EXPORTED int64_t dcacodec_encode(
    const int16_t* cdf, int64_t count, int64_t columns, const int16_t* symbols, char* out, int64_t capacity) {
    try {
        const std::string data = encode_cdf(view(cdf, {count, columns}), view(symbols, {count}));
        const int64_t length = static_cast<int64_t>(data.size());
        if (length <= capacity) std::copy(data.begin(), data.end(), out);
        return length;
    } catch (const std::exception&) {
        return -1;
    }
}

/** Decode `count` symbols to `out`; zeros follow the data. Returns 0; -1 without memory. */
EXPORTED int64_t dcacodec_decode(
    const int16_t* cdf, int64_t count, int64_t columns, const char* data, int64_t length, int16_t* out) {
    try {
        const torch::Tensor symbols = decode_cdf(view(cdf, {count, columns}), std::string(data, length));
        std::copy_n(symbols.accessor<int16_t, 1>().data(), count, out);
        return 0;
    } catch (const std::exception&) {
        return -1;
    }
}
