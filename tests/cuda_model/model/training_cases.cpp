// The CUDA kernel for trainers on the model of CUDA's execution, against a plain loop, on random cases.
//
//     training_cases CASES SEED   prints the number of cases; exit code 1 and the first case that differs, if any
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "../../../csrc/cuda/training.h"
#include "../../native/definition.h"
#include "device_memory.h"
#include "machine.h"

using namespace rrm;

namespace {

std::int64_t pick(Random &random, std::int64_t count) {
    return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(count));
}

// A batch, and the memory of a trainer: an element before those of the local samples and one behind.
template <class V, class Index> struct Case {
    std::int64_t start, n, size;
    bool counts, skip_nan;
    std::vector<V> weights, losses;
    std::vector<Index> index;
    cuda::Tuning tuning{};

    explicit Case(Random &random) {
        start = pick(random, 2) == 0 ? 0 : 1 + pick(random, 1000);
        n = 1 + pick(random, 300);
        size = 1 + pick(random, 400);
        counts = pick(random, 2) == 0;
        skip_nan = pick(random, 2) == 0;
        tuning.threads = static_cast<int>(32 * (1 + pick(random, 4)));
        for (std::int64_t i = 0; i < n; ++i) {
            weights.push_back(pick(random, 3) == 0 ? V{0} : static_cast<V>(uniform(random) * 2));
        }
        const auto family = static_cast<int>(pick(random, families));
        const bool is_out_of_range = pick(random, 3) == 0;
        for (std::int64_t i = 0; i < size; ++i) {
            losses.push_back(static_cast<V>(draw_loss(family, i, size, -140, random)));
            std::int64_t sample = start + pick(random, n);
            if (is_out_of_range && pick(random, 10) == 0) {
                using Limits = std::numeric_limits<Index>;
                const std::int64_t outside[] = {start - 1, start + n, Limits::min(), Limits::max()};
                sample = outside[pick(random, 4)];
            }
            index.push_back(static_cast<Index>(sample));
        }
    }

    // The element of a sample: 0 below the range, n + 1 above it.
    [[nodiscard]] std::size_t element(std::size_t i) const {
        const std::int64_t sample = index[i];
        return static_cast<std::size_t>(sample < start ? 0 : sample >= start + n ? n + 1 : sample - start + 1);
    }
};

template <class V> bool same(V a, V b) {
    return a == b || (std::isnan(a) && std::isnan(b));
}

template <class V, class Index>
bool terms_are_right(const Case<V, Index> &c, const V *terms, const V *factors, const std::uint8_t *has_loss) {
    bool right = true;
    for (std::size_t i = 0; i < c.losses.size(); ++i) {
        const auto nearest = std::clamp<std::int64_t>(static_cast<std::int64_t>(c.element(i)) - 1, 0, c.n - 1);
        const V weight = c.weights[static_cast<std::size_t>(nearest)];
        const bool counts = weight == 0 || !std::isnan(c.losses[i]);
        const V factor = counts ? weight : V{0};
        const V term = factor == 0 ? V{0} : factor * c.losses[i];
        right = right && same(terms[i], term) && same(factors[i], factor) && has_loss[i] == (counts ? 1 : 0);
    }
    return right;
}

template <class V, class Index>
bool store_is_right(const Case<V, Index> &c, std::int32_t epoch, const V *losses, const std::int32_t *marks) {
    bool right = true;
    for (std::size_t element = 0; element < c.weights.size() + 2; ++element) {
        std::int32_t n_recorded = 0;
        bool is_one_of = false;
        for (std::size_t i = 0; i < c.losses.size(); ++i) {
            if (c.element(i) == element && !(c.skip_nan && std::isnan(c.losses[i]))) {
                ++n_recorded;
                is_one_of = is_one_of || same(losses[element], c.losses[i]);
            }
        }
        const std::int32_t mark = n_recorded == 0 ? 1 : c.counts ? 1 + n_recorded : epoch;
        right = right && marks[element] == mark && (n_recorded == 0 ? losses[element] == V{-7} : is_one_of);
    }
    return right;
}

template <class V, class Index> bool try_one(Random &random, std::string &description) {
    const Case<V, Index> c(random);
    description = std::to_string(8 * sizeof(V)) + " bits, index of " + std::to_string(8 * sizeof(Index)) + ", start " +
                  std::to_string(c.start) + ", n " + std::to_string(c.n) + ", size " + std::to_string(c.size) +
                  ", threads " + std::to_string(c.tuning.threads) + ": ";
    const auto schedule = random();
    model::configure({schedule, static_cast<unsigned>(1 + pick(random, 4)), static_cast<unsigned>(pick(random, 8))});
    model::unregister_memory();
    const auto elements = static_cast<std::size_t>(c.n + 2);
    Memory<V> stored(std::vector<V>(elements, V{-7}), pick(random, 3), true);
    Memory<std::int32_t> marks(std::vector<std::int32_t>(elements, 1), pick(random, 3), true);
    const Memory<V> weights(c.weights, pick(random, 3), false), losses(c.losses, pick(random, 3), false);
    const Memory<Index> index(c.index, pick(random, 3), false);
    Memory<V> terms(c.size, pick(random, 3), true), factors(c.size, pick(random, 3), true);
    Memory<std::uint8_t> has_loss(c.size, pick(random, 3), true);
    const cuda::LossStore<V> store{.losses = stored.data + 1,
                                   .marks = marks.data + 1,
                                   .weights = weights.data,
                                   .start = c.start,
                                   .n = c.n,
                                   .counts = c.counts,
                                   .skip_nan = c.skip_nan};
    const cuda::Batch<V, Index> batch{losses.data, index.data, c.size};
    const cuda::WeightedTerms<V> result{terms.data, factors.data, has_loss.data};
    constexpr std::int32_t epoch = 9;
    const auto is_right = [&](const char *what, bool right) {
        description += right ? "" : what;
        return right;
    };
    return is_right("launch", cuda::record_batch<V, Index>(store, batch, epoch, result, c.tuning, nullptr) == 0) &&
           is_right("terms", terms_are_right(c, terms.data, factors.data, has_loss.data)) &&
           is_right("store", store_is_right(c, epoch, stored.data, marks.data));
}

} // namespace

int main(int argc, char **argv) {
    if (argc != 3) {
        std::fputs("usage: training_cases CASES SEED\n", stderr);
        return 2;
    }
    const int cases = std::atoi(argv[1]);
    Random random(static_cast<std::uint64_t>(std::atoll(argv[2])));
    for (int i = 0; i < cases; ++i) {
        std::string description;
        const bool right = i % 4 == 0   ? try_one<float, std::int64_t>(random, description)
                           : i % 4 == 1 ? try_one<float, std::int32_t>(random, description)
                           : i % 4 == 2 ? try_one<double, std::int64_t>(random, description)
                                        : try_one<double, std::int32_t>(random, description);
        if (!right) {
            std::printf("case %d differs: %s\n", i, description.c_str());
            return 1;
        }
    }
    std::printf("%d cases\n", cases);
    return 0;
}
