// Layout of device memory that the caller allocates as one piece.
#pragma once

#include <cstddef>
#include <cstdint>

namespace rrm::cuda {

// Bump allocator over the workspace; on a null workspace it only adds up sizes.
class WorkspaceAllocator {
  public:
    explicit WorkspaceAllocator(void *workspace) : workspace(static_cast<unsigned char *>(workspace)) {}

    template <class T> T *allocate(std::int64_t count) {
        T *array = workspace == nullptr ? nullptr : reinterpret_cast<T *>(workspace + size);
        size += align_up(static_cast<std::size_t>(count) * sizeof(T));
        return array;
    }

    std::size_t size = 0;

  private:
    static std::size_t align_up(std::size_t bytes) {
        return (bytes + 255) / 256 * 256;
    }

    unsigned char *workspace;
};

} // namespace rrm::cuda
