// Runs kernels of cases.cu, all with the same parameters, on the execution model.
//
//     ptx_cases PREFIX SEED OPERANDS RESULTS NAME...
//
// OPERANDS holds n rows (a, b, c) of 64 bits; RESULTS gets n numbers of 64 bits for each kernel. PREFIX is ptx_ for
// the translated PTX, and native_ for the code compiled by g++.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <new>
#include <string>
#include <vector>

#include <dlfcn.h>

#include "../model/machine.h"

namespace {

struct Extra {
    std::uint8_t small[5];
    double scale;
    std::uint64_t offset;
};
using Column = std::vector<std::uint64_t>;
using Native = void(const std::uint64_t *, const std::uint64_t *, const std::uint64_t *, std::uint64_t *, unsigned,
                    Extra);
using Translated = void(void **parameters);

std::vector<Column> read_columns(const char *path) {
    std::ifstream file(path, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    const std::size_t n = bytes.size() / 24;
    std::vector<Column> columns(3, Column(n));
    for (std::size_t i = 0; i < 3 * n; ++i)
        std::memcpy(&columns[i % 3][i / 3], bytes.data() + 8 * i, 8);
    return columns;
}

void *find(const std::string &symbol) {
    void *found = dlsym(RTLD_DEFAULT, symbol.c_str());
    if (!found) {
        std::fprintf(stderr, "no %s\n", symbol.c_str());
        std::exit(1);
    }
    return found;
}

// Aligned to 16 bytes; cudaMalloc aligns to 256.
class Memory {
  public:
    explicit Memory(const Column &values, bool writable)
        : n(values.size()), data(new (std::align_val_t{256}) std::uint64_t[n]) {
        std::memcpy(data, values.data(), 8 * n);
        model::register_memory(data, 8 * n, writable);
    }
    Memory(const Memory &) = delete;
    Memory &operator=(const Memory &) = delete;
    ~Memory() {
        ::operator delete[](data, std::align_val_t{256});
    }

    std::size_t n;
    std::uint64_t *data;
};

} // namespace

int main(int argc, char **argv) {
    if (argc < 5)
        return 1;
    const bool translated = std::strcmp(argv[1], "ptx_") == 0;
    model::Schedule schedule;
    schedule.seed = std::strtoull(argv[2], nullptr, 10);
    model::configure(schedule);
    const std::vector<Column> columns = read_columns(argv[3]);
    const Memory a(columns[0], false), b(columns[1], false), c(columns[2], false);
    std::ofstream results(argv[4], std::ios::binary);
    for (int i = 5; i < argc; ++i) {
        const Memory out(Column(a.n), true);
        const auto n = static_cast<unsigned>(a.n);
        Extra extra{{64, 3, 200, 7, 255}, 0.1, 0x123456789abcdef0};
        const std::uint64_t *pointers[] = {a.data, b.data, c.data, out.data};
        unsigned count = n;
        void *parameters[] = {&pointers[0], &pointers[1], &pointers[2], &pointers[3], &count, &extra};
        void *const symbol = find(translated ? argv[1] + std::string(argv[i]) : argv[i]);
        model::run(argv[i], {3, 1, 1}, {64, 1, 1}, 0, [&] {
            if (translated)
                reinterpret_cast<Translated *>(symbol)(parameters);
            else
                reinterpret_cast<Native *>(symbol)(a.data, b.data, c.data, out.data, n, extra);
        });
        results.write(reinterpret_cast<const char *>(out.data), static_cast<std::streamsize>(8 * out.n));
    }
}
