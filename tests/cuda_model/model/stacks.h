// Stacks of the fibers, and context switches. For machine.cpp.
#pragma once

#include "machine.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <vector>

#if !defined(__x86_64__) && !defined(RRM_MODEL_UCONTEXT)
#define RRM_MODEL_UCONTEXT
#endif
#ifdef RRM_MODEL_UCONTEXT
#include <ucontext.h>
#endif

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace model {

// Stacks in lazily committed pages.
class Stacks {
  public:
    static constexpr std::size_t size = 128 << 10; // below it lies a guard page

#ifdef RRM_MODEL_TSAN
    // Fresh memory for each thread: on a reused stack ThreadSanitizer would report races between its users. The system
    // call is made directly, because the intercepted mmap would count as a write by the running thread.
    char *take() {
        constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        const long address = syscall(SYS_mmap, nullptr, guard + size, PROT_READ | PROT_WRITE, flags, -1, 0L);
        char *const memory = reinterpret_cast<char *>(address);
        mprotect(memory, guard, PROT_NONE);
        return memory + guard;
    }
    void give_back(char *stack) {
        munmap(stack - guard, guard + size);
    }
#else
    char *take() {
        if (free_.empty()) {
            map_more();
        }
        char *const stack = free_.back();
        free_.pop_back();
#ifdef __SANITIZE_ADDRESS__
        __asan_unpoison_memory_region(stack, size); // the last function on it did not return
#endif
        return stack;
    }
    void give_back(char *stack) {
        free_.push_back(stack);
    }
#endif

  private:
    static constexpr std::size_t guard = 4096, at_once = 64;

    std::vector<char *> free_;

    void map_more() {
        constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        void *const mapped = mmap(nullptr, at_once * (guard + size), PROT_READ | PROT_WRITE, flags, -1, 0);
        if (mapped == MAP_FAILED) {
            fail("no memory for the stacks of threads");
        }
        char *memory = static_cast<char *>(mapped);
        for (std::size_t i = 0; i < at_once; ++i, memory += guard + size) {
            mprotect(memory, guard, PROT_NONE);
            free_.push_back(memory + guard);
        }
    }
};

// The saved state of a suspended fiber.
struct Context {
#ifdef RRM_MODEL_UCONTEXT
    ucontext_t registers;
#else
    void *stack_pointer = nullptr;
#endif
#ifdef __SANITIZE_ADDRESS__
    void *fake_stack = nullptr;
    const void *bottom = nullptr;
    std::size_t size = 0;
#endif
};

#ifdef RRM_MODEL_UCONTEXT
void prepare(Context &context, char *stack, unsigned, void (*entry)()) {
    getcontext(&context.registers);
    context.registers.uc_stack.ss_sp = stack;
    context.registers.uc_stack.ss_size = Stacks::size;
    context.registers.uc_link = nullptr;
    makecontext(&context.registers, entry, 0);
}
void switch_stacks(Context &from, Context &to) {
    swapcontext(&from.registers, &to.registers);
}
#else
// Only what a function must preserve for its caller. The control words of the floating-point units stay as they are:
// kernels don't change them, so those of whoever called run() hold for every thread. `ret` is mispredicted,
// but an indirect jump in its place was slower: 34 ns for a shuffle instead of 21.
extern "C" void rrm_model_switch(void **from, void *to);
asm(R"(
    .text
    .p2align 4
    .hidden rrm_model_switch
    .globl rrm_model_switch
    .type rrm_model_switch, @function
rrm_model_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size rrm_model_switch, .-rrm_model_switch
)");

void prepare(Context &context, char *stack, unsigned serial, void (*entry)()) {
    constexpr unsigned preserved = 6;
    // If all stacks began at the same offset of a page, they would evict each other from the caches.
    char *const top = stack + Stacks::size - 64 * (serial % 61) - 128;
    void **const frame = reinterpret_cast<void **>(top); // on a multiple of 16: `entry` finds what a call leaves
    std::memset(frame, 0, (preserved + 2) * sizeof *frame);
    frame[preserved] = reinterpret_cast<void *>(entry); // and above it a null return address ends backtraces
    context.stack_pointer = frame;
}
void switch_stacks(Context &from, Context &to) {
    rrm_model_switch(&from.stack_pointer, to.stack_pointer);
}
#endif

} // namespace model
