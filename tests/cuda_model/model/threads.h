// The threads, warps and blocks of a launch. For machine.cpp.
#pragma once

#include "machine.h"
#include "races.h"
#include "stacks.h"

#include <cstdint>
#include <vector>

namespace model {

constexpr unsigned warp_size = 32;

enum class State : unsigned char { ready, at_warp_operation, at_barrier, exited };
enum class Operation : unsigned char { ballot, shuffle, sync };

const char *spelling(Operation operation) {
    constexpr const char *names[] = {"__ballot_sync", "__shfl_sync", "__syncwarp"};
    return names[static_cast<int>(operation)];
}

struct Block;
struct Warp;

struct Thread {
    Context context;
    char *stack = nullptr; // null before the first run and after the exit
    Block *block = nullptr;
    Warp *warp = nullptr;
    Index index{};
    unsigned flat = 0, lane = 0;
    State state = State::ready;
    Operation operation{}; // the pending operation, and its mask
    unsigned mask = 0;
    unsigned source = 0;
    std::uint64_t value = 0; // operand of the operation, then its result
    Races::Thread races;
};

// A warp operation at which some lanes of the mask have arrived.
struct PendingOperation {
    Operation operation;
    unsigned mask, arrived;
};

struct Warp {
    Thread *threads = nullptr;
    unsigned present = 0; // lanes that exist and have not exited
    bool starved = false;
    unsigned n_pending = 0;
    PendingOperation pending_operations[warp_size];
};

struct SharedPart {
    const void *key;
    std::size_t size;
    unsigned char *bytes, *written;
};

struct Block {
    Index index{};
    unsigned n_present = 0, n_at_barrier = 0;
    const void *site = nullptr; // the barrier at which threads wait
    std::vector<Thread> threads;
    std::vector<Warp> warps;
    std::vector<SharedPart> shared;
    char allocation_clock = 0; // for the race detector, which uses only its address
};

} // namespace model
