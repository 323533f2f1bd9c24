// The CPU kernels against their definitions, on random cases. Built with sanitizers, which Python cannot load.
//
//     kernel_cases CASES SEED   prints the number of cases; exit code 1 and the first wrong case, if there is one
//     kernel_cases count N ISA  one call of each kind with N exponential losses on one thread, for counting
//                               instructions
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "../../csrc/cpu/bucket_counts.h"
#include "../../csrc/cpu/kernels.h"
#include "../../csrc/cpu/reweight.h"
#include "../../csrc/cpu/tuning.h"
#include "definition.h"
#include "group_cases.h"
#include "trainer_cases.h"

using namespace rrm;

namespace {

int pick(Random &random, int count) {
    return static_cast<int>(random() % static_cast<std::uint64_t>(count));
}

template <class F> std::vector<typename F::Bits> draw_losses(Random &random, int family) {
    const std::int64_t n = pick(random, 3) == 0   ? 1 + pick(random, 300)
                           : pick(random, 2) == 0 ? 4090 + pick(random, 12)
                           : pick(random, 9) == 0 ? 131'065 + pick(random, 20)
                                                  : 1 + pick(random, 20'000);
    std::vector<typename F::Bits> losses;
    for (std::int64_t i = 0; i < n; ++i) {
        losses.push_back(round_to<F>(draw_loss(family, i, n, 1 - F::bias - F::mantissa, random)));
    }
    // At least one loss must be finite.
    losses[static_cast<std::size_t>(pick(random, static_cast<int>(n)))] = round_to<F>(0.5);
    return losses;
}

int draw_threads(Random &random) {
    return std::array{1, 2, 3, 7}[static_cast<std::size_t>(pick(random, 4))];
}

void choose_random_instruction_set(Random &random) {
    const auto best = static_cast<int>(cpu::best_instruction_set());
    cpu::choose_instruction_set(static_cast<cpu::InstructionSet>(pick(random, best + 1)));
}

template <class F> std::string describe(int family, std::size_t n, int threads) {
    return "family " + std::to_string(family) + ", n " + std::to_string(n) + ", width " + std::to_string(F::width) +
           ", threads " + std::to_string(threads) + ", " + cpu::name(cpu::chosen_instruction_set());
}

// Whether reweight, apply and count_foreign give the results of the definition.
template <class F> bool check_reweight(Random &random, std::string &description) {
    using V = typename F::Value;
    const auto pick = [&](int count) { return ::pick(random, count); };
    const int family = pick(families), threads = draw_threads(random);
    const auto losses = draw_losses<F>(random, family);
    const auto n = static_cast<std::int64_t>(losses.size());
    const std::int64_t quota = static_cast<std::int64_t>(uniform(random) * static_cast<double>(n)) % n;
    const bool by_rank = pick(4) != 0;
    const int recipients = pick(4); // the minimum, a rank, all kept, none
    const Rule rule{by_rank ? n - quota : 0,
                    by_rank ? 0.0 : uniform(random) * 2.0,
                    recipients == 0   ? 1
                    : recipients == 1 ? 1 + pick(static_cast<int>(n))
                    : recipients == 2 ? n + 1
                                      : 0,
                    by_rank && pick(2) == 0 ? quota : 0,
                    recipients == 2   ? Redistribute::kept
                    : recipients == 3 ? Redistribute::drop
                                      : Redistribute::recipients,
                    true};
    std::vector<V> weights;
    for (std::int64_t i = 0; i < n; ++i) {
        weights.push_back(static_cast<V>(uniform(random)));
    }
    const double mu = pick(2) == 0 ? 1.0 : 0.3;
    const bool has_old_weights = pick(3) != 0;
    const InvalidWeights expected_invalid =
        has_old_weights && mu < 1 && pick(2) == 0 ? draw_invalid_weights(random, weights) : InvalidWeights{};
    const bool in_place = has_old_weights && pick(2) == 0;
    const V *const old_weights = has_old_weights ? weights.data() : nullptr;
    choose_random_instruction_set(random);
    cpu::tuning = {.samples_per_thread = 1,
                   .mark_from = pick(2) == 0 ? n + 1 : 2049,
                   .sample_runs_from = pick(2) == 0 ? 4097 : n + 1,
                   .min_scratch_bytes = pick(2) == 0 ? 1 << 20 : (100 + pick(100)) * 1024,
                   .stream_bytes = pick(2) == 0 ? 0 : 1 << 30,
                   .max_attempts = 1 + pick(3),
                   .min_piece = cpu::block_size,
                   .wait_for_threads = pick(2)};

    Plan expected_plan{}, plan{};
    const auto expected = reference_weights<F>(losses, rule, mu, old_weights, expected_plan);
    std::vector<V> new_weights(static_cast<std::size_t>(n));
    std::vector<V> &out = in_place ? weights : new_weights;
    InvalidWeights invalid;
    const NonFiniteCounts non_finite =
        cpu::reweight<F>(losses.data(), n, rule, mu, old_weights, out.data(), threads, plan, invalid);
    description = describe<F>(family, losses.size(), threads) + ", rank " + std::to_string(rule.rank) + ", gamma " +
                  std::to_string(rule.gamma) + ", recipient_rank " + std::to_string(rule.recipient_rank) + ", quota " +
                  std::to_string(rule.quota) + ", mu " + std::to_string(mu) + (in_place ? " in place" : "") +
                  ", scratch " + std::to_string(cpu::tuning.min_scratch_bytes) + ", attempts " +
                  std::to_string(cpu::tuning.max_attempts);
    if (non_finite.is_invalid(n, true) || !same(plan, expected_plan) || !same(invalid, expected_invalid)) {
        return false;
    }
    // The new weights are discarded if old ones are invalid.
    if (invalid.n == 0 && std::memcmp(out.data(), expected.data(), expected.size() * sizeof(V)) != 0) {
        return false;
    }
    std::vector<V> applied(static_cast<std::size_t>(n));
    cpu::apply<F>(losses.data(), n, plan, 1.0, nullptr, applied.data(), threads);
    const auto targets = reference_weights<F>(losses, rule, 1.0, nullptr, expected_plan);
    if (std::memcmp(applied.data(), targets.data(), targets.size() * sizeof(V)) != 0) {
        return false;
    }
    std::int64_t n_foreign = 0;
    for (const auto bits : losses) {
        n_foreign += F::value(bits) < plan.threshold || std::isnan(F::value(bits)) ? 1 : 0;
    }
    return cpu::count_foreign<F>(losses.data(), n, plan.threshold, false, threads) == n_foreign;
}

constexpr std::size_t bins = std::size_t{1} << cpu::bin_bits;

// Whether count_first_pass gives the results of its definition, one loss after the other. Sets the losses' checksum.
template <class F>
bool check_first_pass(Random &random, const std::vector<typename F::Bits> &losses, int threads,
                      std::uint32_t &checksum) {
    const auto n = static_cast<std::int64_t>(losses.size());
    const std::int64_t first = pick(random, 1000);
    constexpr int shift = F::width - cpu::bin_bits;
    std::vector<std::int64_t> counts(bins, 1), expected_counts(bins, 1); // a pass adds to the counts
    cpu::FirstPassCounts result{.counts = counts.data()}, expected{.counts = expected_counts.data()};
    cpu::count_first_pass<F>(losses.data(), n, first, threads, result);
    for (std::int64_t i = 0; i < n; ++i) {
        const typename F::Bits bits = losses[static_cast<std::size_t>(i)], key = F::key(bits);
        ++expected_counts[key >> shift];
        expected.min_key = std::min(expected.min_key, std::uint64_t{key});
        expected.first_nan = expected.first_nan < 0 && key == F::key_nan ? first + i : expected.first_nan;
        expected.first_neg_inf =
            expected.first_neg_inf < 0 && key == F::key_neg_inf ? first + i : expected.first_neg_inf;
        expected.checksum += static_cast<std::uint32_t>(bits) + static_cast<std::uint32_t>(std::uint64_t{bits} >> 32);
    }
    checksum = expected.checksum;
    return counts == expected_counts && result.min_key == expected.min_key && result.first_nan == expected.first_nan &&
           result.first_neg_inf == expected.first_neg_inf && result.checksum == checksum &&
           cpu::checksum<F>(losses.data(), n) == checksum;
}

// Whether count_pass gives the results of its definition, for random ranges and pivots.
template <class F>
bool check_later_pass(Random &random, const std::vector<typename F::Bits> &losses, int threads,
                      std::uint32_t checksum) {
    using Bits = typename F::Bits;
    const auto n = static_cast<std::int64_t>(losses.size());
    cpu::CountingPass pass;
    std::vector<std::int64_t> counts[2], expected_counts[2];
    std::vector<std::uint64_t> keys[2], expected_keys[2];
    const bool stores_keys = pick(random, 2) == 0;
    const auto random_key = [&] { return F::key(losses[static_cast<std::size_t>(pick(random, static_cast<int>(n)))]); };
    for (std::size_t r = 0; r < 2; ++r) {
        const Bits key = random_key();
        if (key == F::key_nan || pick(random, 5) == 0) {
            break;
        }
        const int width = pick(random, F::width / cpu::bin_bits - 1) * cpu::bin_bits + cpu::bin_bits;
        const Bits first = static_cast<Bits>(key >> width << width);
        pass.ranges[r] = {first, first | ((std::uint64_t{1} << width) - 1), width - cpu::bin_bits};
        if (stores_keys) {
            keys[r].resize(static_cast<std::size_t>(pick(random, static_cast<int>(n)) + 1));
            pass.range_counts[r].keys = keys[r].data();
            pass.range_counts[r].capacity = static_cast<std::int64_t>(keys[r].size());
        } else {
            expected_counts[r].resize(bins);
            counts[r].resize(bins);
            pass.range_counts[r].counts = counts[r].data();
        }
    }
    for (std::size_t p = 0; p < 2 && pick(random, 4) != 0; ++p) {
        pass.pivots[p] = std::min<std::uint64_t>(random_key(), F::key_inf);
    }
    std::int64_t n_in_range[2] = {};
    cpu::PivotCounts pivot_counts[2];
    for (const Bits bits : losses) {
        const std::uint64_t key = F::key(bits);
        for (std::size_t i = 0; i < 2; ++i) {
            const cpu::KeyRange &range = pass.ranges[i];
            if (range.first <= key && key <= range.last) {
                ++n_in_range[i];
                if (!stores_keys) {
                    ++expected_counts[i][(key - range.first) >> range.shift];
                } else if (expected_keys[i].size() < keys[i].size()) {
                    expected_keys[i].push_back(key);
                }
            }
            pivot_counts[i].n_below += pass.pivots[i] != 0 && key < pass.pivots[i] ? 1 : 0;
            pivot_counts[i].n_equal += pass.pivots[i] != 0 && key == pass.pivots[i] ? 1 : 0;
        }
    }
    cpu::count_pass<F>(losses.data(), n, threads, pass);
    if (pass.checksum != checksum) {
        return false;
    }
    for (std::size_t i = 0; i < 2; ++i) {
        keys[i].resize(static_cast<std::size_t>(pass.range_counts[i].n_stored));
        if (pass.range_counts[i].n_in_range != n_in_range[i] || keys[i] != expected_keys[i] ||
            counts[i] != expected_counts[i] || pass.pivot_counts[i].n_below != pivot_counts[i].n_below ||
            pass.pivot_counts[i].n_equal != pivot_counts[i].n_equal) {
            return false;
        }
    }
    return true;
}

template <class F> bool check_counting_passes(Random &random, std::string &description) {
    const int family = pick(random, families), threads = draw_threads(random);
    const auto losses = draw_losses<F>(random, family);
    choose_random_instruction_set(random);
    cpu::tuning =
        cpu::Tuning{.samples_per_thread = 1, .min_piece = cpu::block_size, .wait_for_threads = pick(random, 2)};
    description = "counting passes, " + describe<F>(family, losses.size(), threads);
    std::uint32_t checksum = 0;
    if (!check_first_pass<F>(random, losses, threads, checksum)) {
        return false;
    }
    if constexpr (F::width > cpu::bin_bits) {
        return check_later_pass<F>(random, losses, threads, checksum);
    }
    return true;
}

template <class F> bool check_with_groups(Random &random, std::string &description) {
    const int family = pick(random, families), threads = draw_threads(random);
    const auto losses = draw_losses<F>(random, family);
    choose_random_instruction_set(random);
    cpu::tuning =
        cpu::Tuning{.samples_per_thread = 1, .min_piece = cpu::block_size, .wait_for_threads = pick(random, 2)};
    description = "groups, " + describe<F>(family, losses.size(), threads);
    return pick(random, 4) == 0 ? check_groups<F, std::int64_t>(random, losses, threads, description)
                                : check_groups<F, std::int32_t>(random, losses, threads, description);
}

// Only losses of these types reach a trainer's loops.
template <class F> constexpr bool is_of_trainers = sizeof(typename F::Bits) == sizeof(typename F::Value);

template <class F> bool check_loops_of_trainers(Random &random, std::string &description) {
    const auto bits = draw_losses<F>(random, pick(random, families));
    std::vector<typename F::Value> losses;
    for (const auto loss : bits) {
        // Sums are of numbers up to a known magnitude; NaN stays.
        losses.push_back(std::max(F::value(loss), typename F::Value{-100}));
    }
    choose_random_instruction_set(random);
    const bool is_right = check_trainer(random, losses, description);
    description += std::string(", ") + cpu::name(cpu::chosen_instruction_set());
    return is_right;
}

// The two passes of a selection at contamination 0.2. The second one counts the bin with the threshold, and the losses
// equal to the minimum.
void run_counting_passes(const std::vector<std::uint32_t> &losses, std::uint32_t threshold) {
    const auto n = static_cast<std::int64_t>(losses.size());
    std::vector<std::int64_t> counts(bins);
    cpu::FirstPassCounts result{.counts = counts.data()};
    cpu::count_first_pass<Float32>(losses.data(), n, 0, 1, result);
    const std::uint64_t first = threshold >> cpu::bin_bits << cpu::bin_bits;
    cpu::CountingPass pass;
    pass.ranges[0] = {first, first + bins - 1, 0};
    pass.range_counts[0].counts = counts.data();
    pass.pivots[0] = result.min_key;
    cpu::count_pass<Float32>(losses.data(), n, 1, pass);
}

int count_instructions(std::int64_t n, const char *set) {
    Random random(1);
    std::vector<std::uint32_t> losses;
    for (std::int64_t i = 0; i < n; ++i) {
        losses.push_back(std::bit_cast<std::uint32_t>(static_cast<float>(draw_loss(0, i, n, 0, random))));
    }
    std::vector<float> weights(losses.size(), 1.0F);
    cpu::choose_instruction_set(cpu::parse_instruction_set(set));
    const Rule rule{n - n / 5, 0.0, 1, 0, Redistribute::recipients, false};
    Plan plan{};
    InvalidWeights invalid;
    cpu::reweight<Float32>(losses.data(), n, rule, 0.3, weights.data(), weights.data(), 1, plan, invalid);
    run_counting_passes(losses, Float32::key_not_above(plan.threshold));
    std::printf("%lld pruned\n", static_cast<long long>(plan.n_pruned));
    return 0;
}

} // namespace

int main(int argc, char **argv) {
    if (argc == 4 && std::strcmp(argv[1], "count") == 0) {
        return count_instructions(std::atoll(argv[2]), argv[3]);
    }
    if (argc != 3) {
        std::fputs("usage: kernel_cases CASES SEED | kernel_cases count N ISA\n", stderr);
        return 2;
    }
    const int cases = std::atoi(argv[1]);
    Random random(static_cast<std::uint64_t>(std::atoll(argv[2])));
    for (int i = 0; i < cases; ++i) {
        std::string description;
        const auto check = [&](auto f) {
            using F = decltype(f);
            if constexpr (is_of_trainers<F>) {
                if (i % 16 >= 8 && i % 16 < 12) {
                    return check_loops_of_trainers<F>(random, description);
                }
            }
            return i % 16 < 4   ? check_counting_passes<F>(random, description)
                   : i % 16 < 8 ? check_with_groups<F>(random, description)
                                : check_reweight<F>(random, description);
        };
        const bool right = i % 4 == 0   ? check(Float16{})
                           : i % 4 == 1 ? check(BFloat16{})
                           : i % 4 == 2 ? check(Float32{})
                                        : check(Float64{});
        if (!right) {
            std::printf("case %d is wrong: %s\n", i, description.c_str());
            return 1;
        }
    }
    std::printf("%d cases\n", cases);
    return 0;
}
