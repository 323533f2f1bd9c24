// Scratch memory: one allocation per call, cached by the thread for its next call unless it is large.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace rrm::cpu {

class Scratch {
  public:
    static constexpr std::size_t max_cached = std::size_t{32} << 20; // bytes per thread
    static constexpr std::int64_t min_huge = std::int64_t{4} << 20;  // bytes from which huge pages are asked for

    explicit Scratch(std::int64_t size) {
        const auto bytes = static_cast<std::size_t>(size);
        Block &cached = cache();
        if (cached.bytes < bytes) {
            cached = {}; // free the old block first, so that the two never coexist
            cached = allocate_block(bytes);
        }
        block_ = std::exchange(cached, {});
        next_ = block_.memory.get();
    }
    ~Scratch() {
        if (block_.bytes <= max_cached) {
            cache() = std::move(block_);
        }
    }
    Scratch(const Scratch &) = delete;
    Scratch(Scratch &&) = delete;
    Scratch &operator=(const Scratch &) = delete;
    Scratch &operator=(Scratch &&) = delete;

    // Memory for `count` values of type T, aligned to a cache line. Unchecked: the caller stays within the size.
    template <class T> T *allocate(std::int64_t count) {
        T *const memory = reinterpret_cast<T *>(next_);
        next_ += round_up(static_cast<std::size_t>(count) * sizeof(T));
        return memory;
    }
    [[nodiscard]] std::int64_t bytes_used() const {
        return next_ - block_.memory.get();
    }
    // Frees everything that was allocated.
    void reset() {
        next_ = block_.memory.get();
    }
    static constexpr std::size_t round_up(std::size_t bytes) {
        return (bytes + line - 1) / line * line;
    }

  private:
    static constexpr std::size_t line = 64;
    static constexpr std::size_t huge_page = std::size_t{2} << 20;

    struct Deleter {
        void operator()(std::byte *memory) const {
            std::free(memory); // NOLINT(cppcoreguidelines-no-malloc,cppcoreguidelines-owning-memory)
        }
    };
    struct Block {
        std::unique_ptr<std::byte, Deleter> memory;
        std::size_t bytes = 0;
    };

    static Block &cache() {
        thread_local Block block;
        return block;
    }
    static Block allocate_block(std::size_t bytes) {
        const bool large = bytes >= static_cast<std::size_t>(min_huge);
        const std::size_t size = (bytes + huge_page - 1) / huge_page * huge_page;
        // NOLINTNEXTLINE(cppcoreguidelines-owning-memory)
        void *memory = std::aligned_alloc(large ? huge_page : line, large ? size : round_up(bytes));
        if (memory == nullptr) {
            throw std::bad_alloc();
        }
#ifdef MADV_HUGEPAGE
        if (large) {
            madvise(memory, size, MADV_HUGEPAGE); // a hint: fewer page faults
        }
#endif
        return {std::unique_ptr<std::byte, Deleter>(static_cast<std::byte *>(memory)), bytes};
    }

    Block block_;
    std::byte *next_;
};

} // namespace rrm::cpu
