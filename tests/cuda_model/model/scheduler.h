// The scheduler of the fibers. For machine.cpp.
#pragma once

#include "machine.h"
#include "threads.h"

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace model {

class Random { // splitmix64
  public:
    explicit Random(std::uint64_t seed) : state_(seed) {}

    unsigned below(unsigned limit) {
        return static_cast<unsigned>((draw() >> 32) * limit >> 32);
    }
    bool one_in(unsigned n) {
        return below(n) == 0;
    }

  private:
    std::uint64_t state_;

    std::uint64_t draw() {
        std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        return z ^ z >> 31;
    }
};

// Picks a random ready thread. For random periods it withholds all threads of some warps or blocks, which delays their
// effects as far as possible, or prefers the thread that became ready last, which lets it run ahead of the others.
class Scheduler {
  public:
    explicit Scheduler(Random &random) : random_(random) {}

    void start(std::unique_ptr<Block> block) {
        n_threads_ += block->threads.size();
        // Reserved here: an allocation by a thread would be visible to the race detector.
        runnable_.reserve(n_threads_);
        withheld_.reserve(n_threads_);
        for (Thread &thread : block->threads) {
            add(thread);
        }
        blocks_.push_back(std::move(block));
    }
    std::unique_ptr<Block> end(const Block &block) {
        auto place = blocks_.begin();
        while (place->get() != &block) {
            ++place;
        }
        std::unique_ptr<Block> ended = std::move(*place);
        blocks_.erase(place);
        n_threads_ -= ended->threads.size();
        return ended;
    }
    [[nodiscard]] const std::vector<std::unique_ptr<Block>> &blocks() const {
        return blocks_;
    }

    void add(Thread &thread) {
        (thread.warp->starved ? withheld_ : runnable_).push_back(&thread);
    }
    // Removes and returns the next thread to run; null if none is ready.
    Thread *next() {
        if (runnable_.empty() || remaining_ == 0) {
            change_policy();
            if (runnable_.empty()) {
                return nullptr;
            }
        }
        --remaining_;
        if (!newest_first_) {
            std::swap(runnable_[random_.below(static_cast<unsigned>(runnable_.size()))], runnable_.back());
        }
        Thread *const thread = runnable_.back();
        runnable_.pop_back();
        return thread;
    }

  private:
    Random &random_;
    std::vector<std::unique_ptr<Block>> blocks_;
    std::size_t n_threads_ = 0;
    std::vector<Thread *> runnable_, withheld_;
    std::uint64_t remaining_ = 0; // threads to schedule before the policy changes
    bool newest_first_ = false;

    void change_policy() {
        // Long enough to amortise the pass over all threads.
        remaining_ = (n_threads_ / 2 + 16) << random_.below(5);
        newest_first_ = random_.one_in(4);
        choose_starved_warps();
        for (Thread *thread : withheld_) {
            runnable_.push_back(thread);
        }
        withheld_.clear();
        withhold_starved();
        if (runnable_.empty()) {
            runnable_.swap(withheld_);
        }
    }
    void choose_starved_warps() {
        enum Policy { none, half_of_the_warps, most_warps, half_of_the_blocks, n_policies };
        const unsigned policy = random_.below(n_policies);
        for (const auto &block : blocks_) {
            const bool whole = policy == half_of_the_blocks && random_.one_in(2);
            for (Warp &warp : block->warps) {
                warp.starved = whole || (policy == half_of_the_warps && random_.one_in(2)) ||
                               (policy == most_warps && !random_.one_in(4));
            }
        }
    }
    void withhold_starved() {
        std::size_t n_kept = 0;
        for (Thread *thread : runnable_) {
            if (thread->warp->starved) {
                withheld_.push_back(thread);
            } else {
                runnable_[n_kept++] = thread;
            }
        }
        runnable_.resize(n_kept);
    }
};

} // namespace model
