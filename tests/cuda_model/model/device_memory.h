// Arrays in the memory of the model's device, for the programs that call the kernels.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "machine.h"

namespace rrm {

// Memory of exactly n elements that starts `offset` elements after a multiple of 256 bytes, registered with the model.
template <class T> class Memory {
  public:
    Memory(std::int64_t n, std::int64_t offset, bool writable) : n(n) {
        block = static_cast<unsigned char *>(std::aligned_alloc(256, bytes(n + offset) / 256 * 256 + 256));
        std::memset(block, 0xa5, bytes(n + offset));
        data = reinterpret_cast<T *>(block) + offset;
        model::register_memory(data, bytes(n), writable);
    }
    Memory(const std::vector<T> &values, std::int64_t offset, bool writable)
        : Memory(static_cast<std::int64_t>(values.size()), offset, writable) {
        std::memcpy(data, values.data(), bytes(n));
    }
    Memory(const Memory &) = delete;
    Memory &operator=(const Memory &) = delete;
    ~Memory() {
        std::free(block);
    }

    [[nodiscard]] bool equals(const std::vector<T> &values) const {
        return std::memcmp(data, values.data(), bytes(n)) == 0;
    }

    std::int64_t n;
    T *data;

  private:
    static std::size_t bytes(std::int64_t count) {
        return static_cast<std::size_t>(count) * sizeof(T);
    }
    unsigned char *block;
};

} // namespace rrm
