// A stand-in for the CUDA runtime library: runs a module built by nvcc on a machine without a GPU. A launch runs the
// PTX of its kernel, translated by ptx/translator.py, on the execution model.
//
// Enqueued operations run when they are waited for, or in finish_all: as late as streams and events allow, or in a
// random order that they allow (see Order). An operation that is not ordered after its producer therefore reads
// stale data. Freed memory is poisoned, in stream order too.
//
// The functions stand_in_* at the end are the interface for tests, called by stand_in.py.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "../model/machine.h"

// A row of the kernel table that stand_in.py generates from a PTX file.
struct TranslatedKernel {
    const char *name; // mangled
    void (*run)(void **parameters);
    std::vector<std::size_t> sizes; // of the parameters, in bytes
};
extern const std::vector<TranslatedKernel> translated_kernels;

namespace {

using Address = std::uintptr_t;

enum class Order : int {
    late,   // an operation runs when it is waited for, after its dependencies
    random, // random ready operations run until the awaited one has run
    eager,  // an operation runs when it is enqueued
};

struct Operation {
    std::function<void()> work;
    std::vector<std::size_t> after; // operations that must be done before
    bool done = false;
};

struct Stream {
    int device;
    bool blocking; // synchronises with the device's legacy default stream
    std::size_t last = 0;
};

struct Event {
    int device;
    std::size_t recorded = 0;
    Address stream = 0;
};

struct Region {
    std::size_t size;
    int device;
    bool managed, writable;
    bool owned; // by the stand-in
};

struct Machine {
    int devices = 2, capability = 90; // capability: compute capability times ten
    cudaError_t driver = cudaSuccess; // returned by every call
    Order order = Order::late;
    std::mt19937_64 random{1};
    int assumed_device =
        -1; // >= 0: all memory belongs to this device, unchecked; -1: only registered memory is device memory

    std::vector<Operation> operations{{{}, {}, true}};         // operation 0: no dependency
    std::vector<std::size_t> pending;                          // operations not done yet
    std::map<std::pair<int, Address>, Stream> default_streams; // legacy (1), and per thread (2), of each device
    std::map<Address, std::unique_ptr<Stream>> streams;
    std::map<cudaEvent_t, std::unique_ptr<Event>> events;
    std::map<Address, Region> regions;
    std::string log;
    std::map<std::string, std::pair<int, cudaError_t>> failures; // by call: countdown and error
};

std::recursive_mutex mutex;
Machine machine;
std::string lost; // the reason, once the device is lost: the model cannot continue after a failure

thread_local int current_device = 0;
thread_local cudaError_t last_error = cudaSuccess;

struct Configuration {
    dim3 grid, block;
    std::size_t shared;
    cudaStream_t stream;
};
thread_local std::vector<Configuration> configurations;

std::map<const void *, const TranslatedKernel *> &kernels() {
    static std::map<const void *, const TranslatedKernel *>
        registered; // function-local: used before other statics are initialised
    return registered;
}

template <class... Words> void log_call(const char *what, const Words &...words) {
    machine.log += what;
    ((machine.log += '\t', machine.log += words), ...);
    machine.log += '\n';
}

std::string text(Address number) {
    return std::to_string(number);
}

std::string text(dim3 size) {
    return std::to_string(size.x) + "," + std::to_string(size.y) + "," + std::to_string(size.z);
}

template <class T> Address address_of(T *p) {
    return reinterpret_cast<Address>(p);
}

cudaError_t failed(cudaError_t error) {
    if (error != cudaSuccess) {
        last_error = error;
    }
    return error;
}

// The error that a call returns instead of running: of the driver, a lost device, or injected by a test.
cudaError_t injected_error(const char *call) {
    if (machine.driver != cudaSuccess) {
        return machine.driver;
    }
    if (!lost.empty()) {
        return cudaErrorLaunchFailure;
    }
    const auto entry = machine.failures.find(call);
    return entry != machine.failures.end() && --entry->second.first == 0 ? entry->second.second : cudaSuccess;
}

void mark_lost(const std::string &why) {
    lost = why;
    std::fprintf(stderr, "stand-in for CUDA: %s\n", why.c_str());
}

// ---- The model ends the program on undefined behaviour of a kernel. Here _Exit is wrapped: the device is lost, as on
// a GPU, and the message is left on stderr.
void *jump_buffer[5];
bool in_model = false;

[[gnu::noinline]] void run_guarded(const std::function<void()> &work) {
    if (__builtin_setjmp(jump_buffer) == 0) {
        in_model = true;
        work();
    } else {
        mark_lost("the model of CUDA's execution failed; see the message above");
    }
    in_model = false;
}

// ---- Memory
std::map<Address, Region>::iterator region_of(Address address) {
    auto after = machine.regions.upper_bound(address);
    if (after == machine.regions.begin()) {
        return machine.regions.end();
    }
    --after;
    return address < after->first + after->second.size ? after : machine.regions.end();
}

bool is_device_memory(Address address, std::size_t size) {
    const auto region = region_of(address);
    return machine.assumed_device >= 0 ||
           (region != machine.regions.end() && address + size <= region->first + region->second.size);
}

void require_device_memory(Address address, std::size_t size, const char *what) {
    if (!is_device_memory(address, size) && lost.empty()) {
        mark_lost(std::string(what) + " accesses " + std::to_string(size) + " bytes outside device memory");
    }
}

void register_memory_with_model(int device) {
    model::unregister_memory();
    if (machine.assumed_device >= 0) {
        return;
    }
    static const char none = 0; // a registered range: without any, nothing is checked
    model::register_memory(&none, 1, false);
    for (const auto &[address, region] : machine.regions) {
        if (region.device == device || region.managed) {
            // NOLINTNEXTLINE(performance-no-int-to-ptr)
            model::register_memory(reinterpret_cast<const void *>(address), region.size, region.writable);
        }
    }
}

// ---- Streams
Stream *stream_of(Address handle) {
    if (handle <= 2) {
        const Address which = handle == 2 ? 2 : 1;
        return &machine.default_streams.try_emplace({current_device, which}, Stream{current_device, true})
                    .first->second;
    }
    const auto entry = machine.streams.find(handle);
    return entry == machine.streams.end() ? nullptr : entry->second.get();
}

void run_operation(std::size_t number) {
    Operation &operation = machine.operations[number];
    const auto work = std::move(operation.work);
    operation.done = true;
    operation.after.clear();
    machine.pending.erase(std::find(machine.pending.begin(), machine.pending.end(), number));
    if (work && lost.empty()) {
        work();
    }
}

bool is_ready(std::size_t number) {
    const auto &after = machine.operations[number].after;
    return std::all_of(after.begin(), after.end(), [](std::size_t other) { return machine.operations[other].done; });
}

void run_random_operation() {
    std::vector<std::size_t> ready;
    std::copy_if(machine.pending.begin(), machine.pending.end(), std::back_inserter(ready), is_ready);
    run_operation(ready[machine.random() % ready.size()]);
}

void finish(std::size_t number) {
    while (machine.order == Order::random && !machine.operations[number].done) {
        run_random_operation();
    }
    std::vector<std::size_t> wanted{number};
    while (!wanted.empty()) {
        const std::size_t next = wanted.back();
        if (machine.operations[next].done) {
            wanted.pop_back();
        } else if (is_ready(next)) {
            run_operation(next);
        } else {
            auto after = machine.operations[next].after;
            std::shuffle(after.begin(), after.end(), machine.random); // independent operations in random order
            wanted.insert(wanted.end(), after.begin(), after.end());
        }
    }
}

std::size_t enqueue(Stream &stream, std::function<void()> work, std::vector<std::size_t> after = {}) {
    const std::size_t number = machine.operations.size();
    after.push_back(stream.last);
    const auto depend_on = [&](const Stream &other) {
        if (&other != &stream && other.device == stream.device && other.blocking) {
            after.push_back(other.last);
        }
    };
    const Stream &legacy =
        machine.default_streams.try_emplace({stream.device, 1}, Stream{stream.device, true}).first->second;
    if (&stream == &legacy) {
        for (const auto &[_, other] : machine.default_streams) {
            depend_on(other);
        }
        for (const auto &[_, other] : machine.streams) {
            depend_on(*other);
        }
    } else if (stream.blocking) {
        depend_on(legacy);
    }
    machine.operations.push_back({std::move(work), std::move(after), false});
    machine.pending.push_back(number);
    stream.last = number;
    if (machine.order == Order::eager) {
        finish(number);
    }
    return number;
}

// ---- Launches
void run_kernel(const TranslatedKernel &kernel, model::Index grid, model::Index block, int device,
                std::vector<std::vector<unsigned char>> &arguments) {
    std::vector<void *> parameters;
    for (auto &bytes : arguments) {
        parameters.push_back(bytes.data());
    }
    register_memory_with_model(device);
    model::configure({machine.random(), 4, 8});
    run_guarded([&] { model::run(kernel.name, grid, block, 0, [&] { kernel.run(parameters.data()); }); });
}

cudaError_t launch(const TranslatedKernel *kernel, dim3 grid, dim3 block, void **arguments, std::size_t shared,
                   cudaStream_t handle) {
    const std::lock_guard lock(mutex);
    const cudaError_t error = injected_error("cudaLaunchKernel");
    if (error != cudaSuccess) {
        return failed(error);
    }
    Stream *stream = stream_of(address_of(handle));
    if (stream == nullptr || stream->device != current_device) {
        return failed(cudaErrorInvalidResourceHandle);
    }
    const model::Index blocks{grid.x, grid.y, grid.z}, threads{block.x, block.y, block.z};
    if (!model::is_valid_launch(blocks, threads) || shared != 0) {
        return failed(cudaErrorInvalidConfiguration);
    }
    std::vector<std::vector<unsigned char>> copies; // the caller's arguments are gone when the kernel runs
    for (std::size_t i = 0; i < kernel->sizes.size(); ++i) {
        const auto *bytes = static_cast<const unsigned char *>(arguments[i]);
        copies.emplace_back(bytes, bytes + kernel->sizes[i]);
    }
    log_call("launch", text(static_cast<Address>(current_device)), text(address_of(handle)), kernel->name, text(grid),
             text(block));
    enqueue(*stream, [=, device = current_device]() mutable { run_kernel(*kernel, blocks, threads, device, copies); });
    return cudaSuccess;
}

// Copies n elements between strided arrays.
void copy_elements(Address to, std::int64_t to_stride, Address from, std::int64_t from_stride, std::size_t size,
                   std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) {
        // NOLINTNEXTLINE(performance-no-int-to-ptr)
        std::memcpy(reinterpret_cast<void *>(to + static_cast<Address>(i * to_stride)),
                    reinterpret_cast<const void *>(from + static_cast<Address>(i * from_stride)), size); // NOLINT
    }
}

void wait_for(Stream &stream, Stream &producer) {
    const std::size_t reached = enqueue(producer, {});
    enqueue(stream, {}, {reached});
}

// Runs `work` for a call on a stream, with the error checks that all such calls share.
template <class Work> cudaError_t on_stream(const char *call, cudaStream_t handle, Work work) {
    const std::lock_guard lock(mutex);
    const cudaError_t error = injected_error(call);
    if (error != cudaSuccess) {
        return failed(error);
    }
    Stream *stream = stream_of(address_of(handle));
    return failed(stream == nullptr ? cudaErrorInvalidResourceHandle : work(*stream));
}

const std::map<cudaError_t, std::pair<const char *, const char *>> errors = {
    {cudaSuccess, {"cudaSuccess", "no error"}},
    {cudaErrorInvalidValue, {"cudaErrorInvalidValue", "invalid argument"}},
    {cudaErrorMemoryAllocation, {"cudaErrorMemoryAllocation", "out of memory"}},
    {cudaErrorInvalidConfiguration, {"cudaErrorInvalidConfiguration", "invalid configuration argument"}},
    {cudaErrorInsufficientDriver,
     {"cudaErrorInsufficientDriver", "CUDA driver version is insufficient for CUDA runtime version"}},
    {cudaErrorInvalidDeviceFunction, {"cudaErrorInvalidDeviceFunction", "invalid device function"}},
    {cudaErrorNoDevice, {"cudaErrorNoDevice", "no CUDA-capable device is detected"}},
    {cudaErrorInvalidDevice, {"cudaErrorInvalidDevice", "invalid device ordinal"}},
    {cudaErrorInvalidResourceHandle, {"cudaErrorInvalidResourceHandle", "invalid resource handle"}},
    {cudaErrorIllegalAddress, {"cudaErrorIllegalAddress", "an illegal memory access was encountered"}},
    {cudaErrorLaunchFailure, {"cudaErrorLaunchFailure", "unspecified launch failure"}},
};

} // namespace

extern "C" {

[[noreturn]] void __real__Exit(int code);
[[noreturn]] void __wrap__Exit(int code) { // called in place of _Exit (--wrap)
    if (in_model) {
        __builtin_longjmp(jump_buffer, 1);
    }
    __real__Exit(code);
}

// ---- Called by code that nvcc generates.
void **__cudaRegisterFatBinary(void *) {
    static void *handle;
    return &handle;
}
void __cudaRegisterFatBinaryEnd(void **) {}
void __cudaUnregisterFatBinary(void **) {}
char __cudaInitModule(void **) {
    return 1;
}

void __cudaRegisterFunction(void **, const char *host, char *, const char *name, int, uint3 *, uint3 *, dim3 *, dim3 *,
                            int *) {
    for (const TranslatedKernel &kernel : translated_kernels) {
        if (std::strcmp(kernel.name, name) == 0) {
            kernels()[host] = &kernel;
        }
    }
}

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, std::size_t shared, CUstream_st *stream) {
    configurations.push_back({grid, block, shared, stream});
    return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, std::size_t *shared, void *stream) {
    const Configuration &last = configurations.back();
    *grid = last.grid;
    *block = last.block;
    *shared = last.shared;
    *static_cast<cudaStream_t *>(stream) = last.stream;
    configurations.pop_back();
    return cudaSuccess;
}

cudaError_t __cudaGetKernel(cudaKernel_t *kernel, const void *host) {
    const auto entry = kernels().find(host);
    if (entry == kernels().end()) {
        return failed(cudaErrorInvalidDeviceFunction);
    }
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): CUDA's type for a handle
    *kernel = reinterpret_cast<cudaKernel_t>(const_cast<TranslatedKernel *>(entry->second));
    return cudaSuccess;
}
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **arguments, std::size_t shared,
                               cudaStream_t stream) {
    return launch(reinterpret_cast<const TranslatedKernel *>(kernel), grid, block, arguments, shared, stream);
}
cudaError_t cudaLaunchKernel(const void *host, dim3 grid, dim3 block, void **arguments, std::size_t shared,
                             cudaStream_t stream) {
    cudaKernel_t kernel = nullptr;
    const cudaError_t error = __cudaGetKernel(&kernel, host);
    return error != cudaSuccess ? error : __cudaLaunchKernel(kernel, grid, block, arguments, shared, stream);
}

// ---- Errors
cudaError_t cudaGetLastError() {
    return std::exchange(last_error, cudaSuccess);
}
const char *cudaGetErrorName(cudaError_t error) {
    const auto entry = errors.find(error);
    return entry == errors.end() ? "unrecognized error code" : entry->second.first;
}
const char *cudaGetErrorString(cudaError_t error) {
    const auto entry = errors.find(error);
    return entry == errors.end() ? "unrecognized error code" : entry->second.second;
}

// ---- Devices
cudaError_t cudaGetDeviceCount(int *count) {
    const std::lock_guard lock(mutex);
    const cudaError_t error = injected_error("cudaGetDeviceCount");
    *count = error == cudaSuccess ? machine.devices : 0;
    return failed(error == cudaSuccess && machine.devices == 0 ? cudaErrorNoDevice : error);
}
cudaError_t cudaGetDevice(int *device) {
    const std::lock_guard lock(mutex);
    *device = current_device;
    return failed(injected_error("cudaGetDevice"));
}
cudaError_t cudaSetDevice(int device) {
    const std::lock_guard lock(mutex);
    cudaError_t error = injected_error("cudaSetDevice");
    if (error == cudaSuccess && (device < 0 || device >= machine.devices)) {
        error = cudaErrorInvalidDevice;
    }
    if (error == cudaSuccess) {
        current_device = device;
        log_call("device", text(static_cast<Address>(device)));
    }
    return failed(error);
}
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device) {
    const std::lock_guard lock(mutex);
    cudaError_t error = injected_error("cudaDeviceGetAttribute");
    if (error == cudaSuccess && (device < 0 || device >= machine.devices)) {
        error = cudaErrorInvalidDevice;
    }
    if (attribute == cudaDevAttrMultiProcessorCount) {
        *value = device == 0 ? 2 : 3;
    } else if (attribute == cudaDevAttrComputeCapabilityMajor) {
        *value = machine.capability / 10;
    } else if (attribute == cudaDevAttrComputeCapabilityMinor) {
        *value = machine.capability % 10;
    } else if (error == cudaSuccess) {
        error = cudaErrorInvalidValue;
    }
    return failed(error);
}
cudaError_t cudaDeviceSynchronize() {
    const std::lock_guard lock(mutex);
    log_call("synchronize", text(static_cast<Address>(current_device)), "all");
    while (!machine.pending.empty()) {
        finish(machine.pending.back());
    }
    return failed(injected_error("cudaDeviceSynchronize"));
}

// ---- Memory
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *attributes, const void *pointer) {
    const std::lock_guard lock(mutex);
    *attributes = {};
    attributes->type = cudaMemoryTypeUnregistered;
    const cudaError_t error = injected_error("cudaPointerGetAttributes");
    const auto region = region_of(address_of(pointer));
    if (error == cudaSuccess && region != machine.regions.end()) {
        attributes->type = region->second.managed ? cudaMemoryTypeManaged : cudaMemoryTypeDevice;
        attributes->device = region->second.device;
    } else if (error == cudaSuccess && machine.assumed_device >= 0) {
        attributes->type = cudaMemoryTypeDevice;
        attributes->device = machine.assumed_device;
    }
    return failed(error);
}

cudaError_t cudaMalloc(void **memory, std::size_t size) { // always fails: memory comes from the caller's framework
    const std::lock_guard lock(mutex);
    log_call("allocate", text(static_cast<Address>(current_device)), text(size));
    *memory = nullptr;
    return failed(cudaErrorMemoryAllocation);
}
cudaError_t cudaMallocAsync(void **memory, std::size_t size, cudaStream_t) {
    return cudaMalloc(memory, size);
}
cudaError_t cudaFree(void *) {
    return cudaSuccess;
}
cudaError_t cudaFreeAsync(void *, cudaStream_t) {
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, std::size_t size, cudaMemcpyKind kind, cudaStream_t handle) {
    return on_stream("cudaMemcpyAsync", handle, [&](Stream &stream) {
        log_call("copy", text(static_cast<Address>(stream.device)), text(address_of(handle)), text(size));
        // From pageable memory: staged before the call returns, as in CUDA.
        const auto *bytes = static_cast<const unsigned char *>(from);
        std::vector<unsigned char> staged;
        if (kind == cudaMemcpyHostToDevice) {
            staged.assign(bytes, bytes + size);
        }
        const std::size_t copy = enqueue(stream, [=] {
            if (kind != cudaMemcpyHostToDevice) {
                require_device_memory(address_of(from), size, "cudaMemcpyAsync");
            }
            if (kind != cudaMemcpyDeviceToHost) {
                require_device_memory(address_of(to), size, "cudaMemcpyAsync");
            }
            if (lost.empty()) {
                std::memcpy(to, kind == cudaMemcpyHostToDevice ? staged.data() : from, size);
            }
        });
        if (kind == cudaMemcpyDeviceToHost) { // into pageable memory: synchronous, as in CUDA
            finish(copy);
        }
        return cudaSuccess;
    });
}

cudaError_t cudaMemsetAsync(void *memory, int value, std::size_t size, cudaStream_t handle) {
    return on_stream("cudaMemsetAsync", handle, [&](Stream &stream) {
        log_call("set", text(static_cast<Address>(stream.device)), text(address_of(handle)), text(size));
        enqueue(stream, [=] {
            require_device_memory(address_of(memory), size, "cudaMemsetAsync");
            if (lost.empty()) {
                std::memset(memory, value, size);
            }
        });
        return cudaSuccess;
    });
}

// ---- Streams and events
cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
    return on_stream("cudaStreamSynchronize", handle, [&](Stream &stream) {
        log_call("synchronize", text(static_cast<Address>(stream.device)), text(address_of(handle)));
        finish(stream.last);
        return lost.empty() ? cudaSuccess : cudaErrorLaunchFailure;
    });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned) {
    const std::lock_guard lock(mutex);
    const cudaError_t error = injected_error("cudaEventCreateWithFlags");
    if (error == cudaSuccess) {
        auto created = std::make_unique<Event>(Event{current_device});
        *event = reinterpret_cast<cudaEvent_t>(created.get());
        machine.events[*event] = std::move(created);
    }
    return failed(error);
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t handle) {
    return on_stream("cudaEventRecord", handle, [&](Stream &stream) {
        const auto entry = machine.events.find(event);
        if (entry == machine.events.end() || entry->second->device != stream.device) {
            return cudaErrorInvalidResourceHandle;
        }
        entry->second->recorded = enqueue(stream, {});
        entry->second->stream = address_of(handle);
        return cudaSuccess;
    });
}
cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned) {
    return on_stream("cudaStreamWaitEvent", handle, [&](Stream &stream) {
        const auto entry = machine.events.find(event);
        if (entry == machine.events.end()) {
            return cudaErrorInvalidResourceHandle;
        }
        log_call("wait", text(static_cast<Address>(stream.device)), text(address_of(handle)),
                 text(entry->second->stream));
        enqueue(stream, {}, {entry->second->recorded});
        return cudaSuccess;
    });
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
    const std::lock_guard lock(mutex);
    return failed(machine.events.erase(event) == 1 ? cudaSuccess : cudaErrorInvalidResourceHandle);
}

// ---- Interface for tests.
void stand_in_reset(int devices, int driver, int order, std::uint64_t seed) {
    const std::lock_guard lock(mutex);
    for (const auto &[address, region] : machine.regions) {
        if (region.owned) {
            std::free(reinterpret_cast<void *>(address)); // NOLINT(performance-no-int-to-ptr)
        }
    }
    machine = {};
    machine.devices = devices;
    machine.driver = static_cast<cudaError_t>(driver);
    machine.order = static_cast<Order>(order);
    machine.random.seed(seed);
    current_device = 0;
    last_error = cudaSuccess;
}

void stand_in_set_capability(int times_ten) {
    const std::lock_guard lock(mutex);
    machine.capability = times_ten;
}

const char *stand_in_lost() {
    return lost.c_str();
}

const char *stand_in_log() {
    return machine.log.c_str();
}
void stand_in_clear_log() {
    machine.log.clear();
}

// Bytes read by the kernels with `part` in their names.
std::uint64_t stand_in_bytes_read(const char *part) {
    model::Cost costs[256];
    const std::size_t n = model::costs(costs, 256);
    std::uint64_t bytes = 0;
    for (std::size_t i = 0; i < n; ++i) {
        bytes += std::strstr(costs[i].kernel, part) == nullptr ? 0 : costs[i].bytes_read;
    }
    return bytes;
}

int stand_in_current_device() {
    return current_device;
}
void stand_in_set_current_device(int device) {
    current_device = device;
}

// Makes the `nth` call of that name from now on fail; 1 is the next one.
void stand_in_fail(const char *call, int nth, int error) {
    machine.failures[call] = {nth, static_cast<cudaError_t>(error)};
}

// From now on unregistered memory counts as memory of `device`, unchecked.
void stand_in_assume_device(int device) {
    machine.assumed_device = device;
}

Address stand_in_create_stream(int device, int blocking) {
    auto stream = std::make_unique<Stream>(Stream{device, blocking != 0});
    const Address handle = address_of(stream.get());
    machine.streams[handle] = std::move(stream);
    return handle;
}

void stand_in_protect(Address address) {
    machine.regions.at(address).writable = false;
}

} // extern "C"

namespace {

// Runs `work` with `device` as the current device.
template <class Work> void with_device(int device, Work work) {
    const std::lock_guard lock(mutex);
    const int before = std::exchange(current_device, device);
    work();
    current_device = before;
}

} // namespace

extern "C" {

// Allocates like the frameworks' caching allocators: until the stream reaches this point, the previous owner may still
// write to the memory.
Address stand_in_allocate(int device, Address handle, std::size_t size, int managed) {
    const std::size_t padded = (std::max<std::size_t>(size, 1) + 255) / 256 * 256;
    void *memory = std::aligned_alloc(256, padded);
    with_device(device, [&] {
        machine.regions[address_of(memory)] = {size, device, managed != 0, true, true};
        enqueue(*stream_of(handle), [=] { std::memset(memory, 0xa5, padded); });
    });
    return address_of(memory);
}

// Frees in stream order: the memory may be reused from this point of the stream on.
void stand_in_free(int device, Address handle, Address address) {
    with_device(device, [&] {
        if (machine.regions.find(address) == machine.regions.end()) {
            return; // allocated before a reset
        }
        enqueue(*stream_of(handle), [=] {
            const auto region = machine.regions.find(address);
            void *memory = reinterpret_cast<void *>(address); // NOLINT(performance-no-int-to-ptr)
            std::memset(memory, 0x5a, region->second.size);
            machine.regions.erase(region);
            std::free(memory);
        });
    });
}

void stand_in_order(int device, Address handle, Address producer) {
    with_device(device, [&] { wait_for(*stream_of(handle), *stream_of(producer)); });
}

// Copies between host and device memory; a host source is copied before the call returns.
void stand_in_copy(int device, Address handle, Address to, std::int64_t to_stride, Address from,
                   std::int64_t from_stride, std::size_t size, std::int64_t n, int from_host) {
    with_device(device, [&] {
        if (from_host == 0) {
            enqueue(*stream_of(handle), [=] { copy_elements(to, to_stride, from, from_stride, size, n); });
            return;
        }
        std::vector<unsigned char> snapshot(size * static_cast<std::size_t>(n));
        const auto packed = static_cast<std::int64_t>(size);
        copy_elements(address_of(snapshot.data()), packed, from, from_stride, size, n);
        enqueue(*stream_of(handle), [=, snapshot = std::move(snapshot)] {
            copy_elements(to, to_stride, address_of(snapshot.data()), packed, size, n);
        });
    });
}

void stand_in_finish(int device, Address handle) {
    with_device(device, [&] { finish(enqueue(*stream_of(handle), {})); });
}

void stand_in_finish_all() {
    const std::lock_guard lock(mutex);
    while (!machine.pending.empty()) {
        run_random_operation();
    }
}

} // extern "C"
