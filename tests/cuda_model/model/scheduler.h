// Which thread runs next, and which block starts. For machine.cpp.
#pragma once

#include "machine.h"
#include "threads.h"

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace model {

class Random { // splitmix64: any seed will do
  public:
    explicit Random(std::uint64_t seed) : state_(seed) {}

    unsigned below(unsigned limit) {
        return static_cast<unsigned>((next() >> 32) * limit >> 32);
    }
    bool one_in(unsigned n) {
        return below(n) == 0;
    }

  private:
    std::uint64_t state_;

    std::uint64_t next() {
        std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        return z ^ z >> 31;
    }
};

// Picks at random among the threads that can run, for a while not at all from some warps or blocks: what they would do
// comes as late as possible then. Some of the time it prefers the thread that became ready last, which lets one run
// ahead of the others.
class Scheduler {
  public:
    explicit Scheduler(Random &random) : random_(random) {}

    void start(std::unique_ptr<Block> block) {
        n_threads_ += block->threads.size();
        // Here, because a thread must not allocate memory in the eyes of the race checker.
        runnable_.reserve(n_threads_);
        held_.reserve(n_threads_);
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
        (thread.warp->starved ? held_ : runnable_).push_back(&thread);
    }
    // Null if no thread can run.
    Thread *take() {
        if (runnable_.empty() || left_ == 0) {
            change_mood();
            if (runnable_.empty()) {
                return nullptr;
            }
        }
        --left_;
        if (!newest_first_) {
            std::swap(runnable_[random_.below(static_cast<unsigned>(runnable_.size()))], runnable_.back());
        }
        Thread *const taken = runnable_.back();
        runnable_.pop_back();
        return taken;
    }

  private:
    Random &random_;
    std::vector<std::unique_ptr<Block>> blocks_;
    std::size_t n_threads_ = 0;
    std::vector<Thread *> runnable_, held_;
    std::uint64_t left_ = 0; // threads to take before the mood changes
    bool newest_first_ = false;

    void change_mood() {
        // Short enough to change often, long enough that going through all threads doesn't count.
        left_ = (n_threads_ / 2 + 16) << random_.below(5);
        newest_first_ = random_.one_in(4);
        starve();
        for (Thread *thread : held_) {
            runnable_.push_back(thread);
        }
        held_.clear();
        hold_starved();
        if (runnable_.empty()) {
            runnable_.swap(held_);
        }
    }
    void starve() {
        enum Mood { nobody, half_of_the_warps, most_warps, half_of_the_blocks, n_moods };
        const unsigned mood = random_.below(n_moods);
        for (const auto &block : blocks_) {
            const bool whole = mood == half_of_the_blocks && random_.one_in(2);
            for (Warp &warp : block->warps) {
                warp.starved = whole || (mood == half_of_the_warps && random_.one_in(2)) ||
                               (mood == most_warps && !random_.one_in(4));
            }
        }
    }
    void hold_starved() {
        std::size_t kept = 0;
        for (Thread *thread : runnable_) {
            if (thread->warp->starved) {
                held_.push_back(thread);
            } else {
                runnable_[kept++] = thread;
            }
        }
        runnable_.resize(kept);
    }
};

} // namespace model
