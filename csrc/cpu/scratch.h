// Scratch memory: one block for a whole call, kept by the thread for its next call unless it is large.
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

class Arena {
  public:
    static constexpr std::size_t kept = std::size_t{32} << 20; // bytes, per thread

    explicit Arena(std::int64_t size) {
        const auto bytes = static_cast<std::size_t>(size);
        Block &own = cache();
        if (own.bytes < bytes) {
            own = {}; // never both at once
            own = allocate(bytes);
        }
        block_ = std::exchange(own, {});
        next_ = block_.memory.get();
    }
    ~Arena() {
        if (block_.bytes <= kept) {
            cache() = std::move(block_);
        }
    }
    Arena(const Arena &) = delete;
    Arena(Arena &&) = delete;
    Arena &operator=(const Arena &) = delete;
    Arena &operator=(Arena &&) = delete;

    // Memory for so many T, on a cache line of its own. The caller has counted: there is enough.
    template <class T> T *take(std::int64_t count) {
        T *const taken = reinterpret_cast<T *>(next_);
        next_ += round_up(static_cast<std::size_t>(count) * sizeof(T));
        return taken;
    }
    // Bytes taken so far.
    [[nodiscard]] std::int64_t taken() const {
        return next_ - block_.memory.get();
    }
    // Gives back all that was taken.
    void reset() {
        next_ = block_.memory.get();
    }
    static constexpr std::size_t round_up(std::size_t bytes) {
        return (bytes + line - 1) / line * line;
    }

  private:
    static constexpr std::size_t line = 64, huge_page = std::size_t{2} << 20;

    struct Free {
        void operator()(std::byte *memory) const {
            std::free(memory); // NOLINT(cppcoreguidelines-no-malloc,cppcoreguidelines-owning-memory)
        }
    };
    struct Block {
        std::unique_ptr<std::byte, Free> memory;
        std::size_t bytes = 0;
    };

    static Block &cache() {
        thread_local Block block;
        return block;
    }
    static Block allocate(std::size_t bytes) {
        const bool large = bytes >= 2 * huge_page;
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
        return {std::unique_ptr<std::byte, Free>(static_cast<std::byte *>(memory)), bytes};
    }

    Block block_;
    std::byte *next_;
};

} // namespace rrm::cpu
