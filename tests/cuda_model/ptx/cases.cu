// Kernels that test_ptx.py compiles to PTX, translates and runs, on rows (a, b, c) of edge-case operands.
//
// INSTRUCTIONS: one PTX instruction each; isa.py has the results that the PTX ISA specifies.
// PROGRAMS: CUDA C++, also compiled by g++ with gpu_model.h; both must agree.
// WRONG: the model must fail with a message.
#include <cstdint>
#include <cstring>

#include "../../../csrc/cuda/compat.h"

#ifdef RRM_GPU_MODEL
#define __constant__ static const
#define __noinline__ __attribute__((noinline))
#endif

using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using f32 = float;
using f64 = double;

struct Extra {
    std::uint8_t small[5];
    double scale;
    u64 offset;
};

#define KERNEL(name)                                                                                                   \
    extern "C" __global__ void name([[maybe_unused]] const u64 *a, [[maybe_unused]] const u64 *b,                      \
                                    [[maybe_unused]] const u64 *c, [[maybe_unused]] u64 *out,                          \
                                    [[maybe_unused]] u32 n, [[maybe_unused]] Extra extra)
#define EACH_ROW                                                                                                       \
    for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)

template <class T> __device__ T from_bits(u64 bits) {
    T value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
template <class T> __device__ u64 to_bits(T value) {
    u64 bits = 0;
    memcpy(&bits, &value, sizeof value);
    return bits;
}

#ifndef RRM_GPU_MODEL
// ---- INSTRUCTIONS: %0 is the result, %1 to %3 are the row.
#define IN_u16 "h"
#define IN_u32 "r"
#define IN_u64 "l"
#define IN_f32 "f"
#define IN_f64 "d"
#define INSTRUCTION(name, R, A, B, C, code)                                                                            \
    KERNEL(name) {                                                                                                     \
        EACH_ROW {                                                                                                     \
            const A x = from_bits<A>(a[i]);                                                                            \
            const B y = from_bits<B>(b[i]);                                                                            \
            const C z = from_bits<C>(c[i]);                                                                            \
            R result;                                                                                                  \
            asm volatile(code : "=" IN_##R(result) : IN_##A(x), IN_##B(y), IN_##C(z));                                 \
            out[i] = to_bits(result);                                                                                  \
        }                                                                                                              \
    }
#define PREDICATE(name, A, B, C, code)                                                                                 \
    INSTRUCTION(name, u32, A, B, C, "{ .reg .pred p, q; " code " selp.u32 %0, 1, 0, p; }")

INSTRUCTION(add_u16, u16, u16, u16, u16, "add.u16 %0, %1, %2;")
INSTRUCTION(add_s32, u32, u32, u32, u32, "add.s32 %0, %1, %2;")
INSTRUCTION(add_sat_s32, u32, u32, u32, u32, "add.sat.s32 %0, %1, %2;")
INSTRUCTION(add_s64, u64, u64, u64, u64, "add.s64 %0, %1, %2;")
INSTRUCTION(sub_s16, u16, u16, u16, u16, "sub.s16 %0, %1, %2;")
INSTRUCTION(sub_s32, u32, u32, u32, u32, "sub.s32 %0, %1, %2;")
INSTRUCTION(sub_sat_s32, u32, u32, u32, u32, "sub.sat.s32 %0, %1, %2;")
INSTRUCTION(sub_u64, u64, u64, u64, u64, "sub.u64 %0, %1, %2;")
INSTRUCTION(mul_lo_u16, u16, u16, u16, u16, "mul.lo.u16 %0, %1, %2;")
INSTRUCTION(mul_hi_s16, u16, u16, u16, u16, "mul.hi.s16 %0, %1, %2;")
INSTRUCTION(mul_wide_s16, u32, u16, u16, u16, "mul.wide.s16 %0, %1, %2;")
INSTRUCTION(mul_wide_u16, u32, u16, u16, u16, "mul.wide.u16 %0, %1, %2;")
INSTRUCTION(mul_lo_s32, u32, u32, u32, u32, "mul.lo.s32 %0, %1, %2;")
INSTRUCTION(mul_hi_s32, u32, u32, u32, u32, "mul.hi.s32 %0, %1, %2;")
INSTRUCTION(mul_hi_u32, u32, u32, u32, u32, "mul.hi.u32 %0, %1, %2;")
INSTRUCTION(mul_wide_s32, u64, u32, u32, u32, "mul.wide.s32 %0, %1, %2;")
INSTRUCTION(mul_wide_u32, u64, u32, u32, u32, "mul.wide.u32 %0, %1, %2;")
INSTRUCTION(mul_lo_s64, u64, u64, u64, u64, "mul.lo.s64 %0, %1, %2;")
INSTRUCTION(mul_hi_s64, u64, u64, u64, u64, "mul.hi.s64 %0, %1, %2;")
INSTRUCTION(mul_hi_u64, u64, u64, u64, u64, "mul.hi.u64 %0, %1, %2;")
INSTRUCTION(mad_lo_s32, u32, u32, u32, u32, "mad.lo.s32 %0, %1, %2, %3;")
INSTRUCTION(mad_hi_u32, u32, u32, u32, u32, "mad.hi.u32 %0, %1, %2, %3;")
INSTRUCTION(mad_wide_s32, u64, u32, u32, u64, "mad.wide.s32 %0, %1, %2, %3;")
INSTRUCTION(mad_wide_u32, u64, u32, u32, u64, "mad.wide.u32 %0, %1, %2, %3;")
INSTRUCTION(mad_lo_u64, u64, u64, u64, u64, "mad.lo.u64 %0, %1, %2, %3;")
INSTRUCTION(sad_s32, u32, u32, u32, u32, "sad.s32 %0, %1, %2, %3;")
INSTRUCTION(sad_u64, u64, u64, u64, u64, "sad.u64 %0, %1, %2, %3;")
INSTRUCTION(div_s32, u32, u32, u32, u32, "{ .reg .u32 d; or.b32 d, %2, 1; div.s32 %0, %1, d; }")
INSTRUCTION(div_u32, u32, u32, u32, u32, "{ .reg .u32 d; or.b32 d, %2, 1; div.u32 %0, %1, d; }")
INSTRUCTION(div_s64, u64, u64, u64, u64, "{ .reg .u64 d; or.b64 d, %2, 1; div.s64 %0, %1, d; }")
INSTRUCTION(rem_s32, u32, u32, u32, u32, "{ .reg .u32 d; or.b32 d, %2, 1; rem.s32 %0, %1, d; }")
INSTRUCTION(rem_u64, u64, u64, u64, u64, "{ .reg .u64 d; or.b64 d, %2, 1; rem.u64 %0, %1, d; }")
INSTRUCTION(abs_s32, u32, u32, u32, u32, "abs.s32 %0, %1;")
INSTRUCTION(abs_s64, u64, u64, u64, u64, "abs.s64 %0, %1;")
INSTRUCTION(neg_s16, u16, u16, u16, u16, "neg.s16 %0, %1;")
INSTRUCTION(neg_s32, u32, u32, u32, u32, "neg.s32 %0, %1;")
INSTRUCTION(min_s16, u16, u16, u16, u16, "min.s16 %0, %1, %2;")
INSTRUCTION(min_s32, u32, u32, u32, u32, "min.s32 %0, %1, %2;")
INSTRUCTION(min_u32, u32, u32, u32, u32, "min.u32 %0, %1, %2;")
INSTRUCTION(max_s64, u64, u64, u64, u64, "max.s64 %0, %1, %2;")
INSTRUCTION(max_u64, u64, u64, u64, u64, "max.u64 %0, %1, %2;")

INSTRUCTION(and_b32, u32, u32, u32, u32, "and.b32 %0, %1, %2;")
INSTRUCTION(or_b16, u16, u16, u16, u16, "or.b16 %0, %1, %2;")
INSTRUCTION(xor_b64, u64, u64, u64, u64, "xor.b64 %0, %1, %2;")
INSTRUCTION(not_b16, u16, u16, u16, u16, "not.b16 %0, %1;")
INSTRUCTION(not_b64, u64, u64, u64, u64, "not.b64 %0, %1;")
INSTRUCTION(cnot_b32, u32, u32, u32, u32, "cnot.b32 %0, %1;")
INSTRUCTION(shl_b16, u16, u16, u32, u32, "shl.b16 %0, %1, %2;")
INSTRUCTION(shl_b32, u32, u32, u32, u32, "shl.b32 %0, %1, %2;")
INSTRUCTION(shl_b64, u64, u64, u32, u32, "shl.b64 %0, %1, %2;")
INSTRUCTION(shr_u16, u16, u16, u32, u32, "shr.u16 %0, %1, %2;")
INSTRUCTION(shr_s16, u16, u16, u32, u32, "shr.s16 %0, %1, %2;")
INSTRUCTION(shr_u32, u32, u32, u32, u32, "shr.u32 %0, %1, %2;")
INSTRUCTION(shr_s32, u32, u32, u32, u32, "shr.s32 %0, %1, %2;")
INSTRUCTION(shr_b64, u64, u64, u32, u32, "shr.b64 %0, %1, %2;")
INSTRUCTION(shr_s64, u64, u64, u32, u32, "shr.s64 %0, %1, %2;")
INSTRUCTION(shf_l_wrap, u32, u32, u32, u32, "shf.l.wrap.b32 %0, %1, %2, %3;")
INSTRUCTION(shf_l_clamp, u32, u32, u32, u32, "shf.l.clamp.b32 %0, %1, %2, %3;")
INSTRUCTION(shf_r_wrap, u32, u32, u32, u32, "shf.r.wrap.b32 %0, %1, %2, %3;")
INSTRUCTION(shf_r_clamp, u32, u32, u32, u32, "shf.r.clamp.b32 %0, %1, %2, %3;")
INSTRUCTION(popc_b32, u32, u32, u32, u32, "popc.b32 %0, %1;")
INSTRUCTION(popc_b64, u32, u64, u64, u64, "popc.b64 %0, %1;")
INSTRUCTION(clz_b32, u32, u32, u32, u32, "clz.b32 %0, %1;")
INSTRUCTION(clz_b64, u32, u64, u64, u64, "clz.b64 %0, %1;")
INSTRUCTION(brev_b32, u32, u32, u32, u32, "brev.b32 %0, %1;")
INSTRUCTION(brev_b64, u64, u64, u64, u64, "brev.b64 %0, %1;")
INSTRUCTION(bfind_u32, u32, u32, u32, u32, "bfind.u32 %0, %1;")
INSTRUCTION(bfind_s32, u32, u32, u32, u32, "bfind.s32 %0, %1;")
INSTRUCTION(bfind_s64, u32, u64, u64, u64, "bfind.s64 %0, %1;")
INSTRUCTION(bfind_shiftamt_u64, u32, u64, u64, u64, "bfind.shiftamt.u64 %0, %1;")
INSTRUCTION(bfe_u32, u32, u32, u32, u32, "bfe.u32 %0, %1, %2, %3;")
INSTRUCTION(bfe_s32, u32, u32, u32, u32, "bfe.s32 %0, %1, %2, %3;")
INSTRUCTION(bfe_u64, u64, u64, u32, u32, "bfe.u64 %0, %1, %2, %3;")
INSTRUCTION(bfe_s64, u64, u64, u32, u32, "bfe.s64 %0, %1, %2, %3;")
INSTRUCTION(bfi_b32, u32, u32, u32, u32, "bfi.b32 %0, %1, 0x12345678, %2, %3;")
INSTRUCTION(bfi_b64, u64, u64, u32, u32, "bfi.b64 %0, %1, 0x123456789abcdef0, %2, %3;")
INSTRUCTION(prmt_b32, u32, u32, u32, u32, "prmt.b32 %0, %1, %2, %3;")
INSTRUCTION(lop3_96, u32, u32, u32, u32, "lop3.b32 %0, %1, %2, %3, 0x96;")
INSTRUCTION(lop3_1b, u32, u32, u32, u32, "lop3.b32 %0, %1, %2, %3, 0x1b;")

INSTRUCTION(add_f32, f32, f32, f32, f32, "add.rn.f32 %0, %1, %2;")
INSTRUCTION(add_sat_f32, f32, f32, f32, f32, "add.rn.sat.f32 %0, %1, %2;")
INSTRUCTION(sub_f32, f32, f32, f32, f32, "sub.rn.f32 %0, %1, %2;")
INSTRUCTION(mul_f32, f32, f32, f32, f32, "mul.rn.f32 %0, %1, %2;")
INSTRUCTION(div_f32, f32, f32, f32, f32, "div.rn.f32 %0, %1, %2;")
INSTRUCTION(fma_f32, f32, f32, f32, f32, "fma.rn.f32 %0, %1, %2, %3;")
INSTRUCTION(rcp_f32, f32, f32, f32, f32, "rcp.rn.f32 %0, %1;")
INSTRUCTION(sqrt_f32, f32, f32, f32, f32, "sqrt.rn.f32 %0, %1;")
INSTRUCTION(abs_f32, f32, f32, f32, f32, "abs.f32 %0, %1;")
INSTRUCTION(neg_f32, f32, f32, f32, f32, "neg.f32 %0, %1;")
INSTRUCTION(copysign_f32, f32, f32, f32, f32, "copysign.f32 %0, %1, %2;")
INSTRUCTION(min_f32, f32, f32, f32, f32, "min.f32 %0, %1, %2;")
INSTRUCTION(max_f32, f32, f32, f32, f32, "max.f32 %0, %1, %2;")
INSTRUCTION(min_nan_f32, f32, f32, f32, f32, "min.NaN.f32 %0, %1, %2;")
INSTRUCTION(max_nan_f32, f32, f32, f32, f32, "max.NaN.f32 %0, %1, %2;")
INSTRUCTION(add_f64, f64, f64, f64, f64, "add.rn.f64 %0, %1, %2;")
INSTRUCTION(sub_f64, f64, f64, f64, f64, "sub.rn.f64 %0, %1, %2;")
INSTRUCTION(mul_f64, f64, f64, f64, f64, "mul.rn.f64 %0, %1, %2;")
INSTRUCTION(div_f64, f64, f64, f64, f64, "div.rn.f64 %0, %1, %2;")
INSTRUCTION(fma_f64, f64, f64, f64, f64, "fma.rn.f64 %0, %1, %2, %3;")
INSTRUCTION(rcp_f64, f64, f64, f64, f64, "rcp.rn.f64 %0, %1;")
INSTRUCTION(sqrt_f64, f64, f64, f64, f64, "sqrt.rn.f64 %0, %1;")
INSTRUCTION(abs_f64, f64, f64, f64, f64, "abs.f64 %0, %1;")
INSTRUCTION(neg_f64, f64, f64, f64, f64, "neg.f64 %0, %1;")
INSTRUCTION(copysign_f64, f64, f64, f64, f64, "copysign.f64 %0, %1, %2;")
INSTRUCTION(min_f64, f64, f64, f64, f64, "min.f64 %0, %1, %2;")
INSTRUCTION(max_f64, f64, f64, f64, f64, "max.f64 %0, %1, %2;")

#define COMPARISON(name, type, A) PREDICATE(setp_##name##_##type, A, A, A, "setp." #name "." #type " p, %1, %2;")
#define INTEGER_COMPARISONS(type, A)                                                                                   \
    COMPARISON(eq, type, A) COMPARISON(ne, type, A) COMPARISON(lt, type, A)                                            \
    COMPARISON(le, type, A) COMPARISON(gt, type, A) COMPARISON(ge, type, A)
#define FLOAT_COMPARISONS(type)                                                                                        \
    INTEGER_COMPARISONS(type, type)                                                                                    \
    COMPARISON(equ, type, type) COMPARISON(neu, type, type) COMPARISON(ltu, type, type) COMPARISON(leu, type, type)    \
    COMPARISON(gtu, type, type) COMPARISON(geu, type, type) COMPARISON(num, type, type) COMPARISON(nan, type, type)
INTEGER_COMPARISONS(s16, u16)
INTEGER_COMPARISONS(s32, u32)
INTEGER_COMPARISONS(u32, u32)
INTEGER_COMPARISONS(s64, u64)
INTEGER_COMPARISONS(u64, u64)
FLOAT_COMPARISONS(f32)
FLOAT_COMPARISONS(f64)
COMPARISON(lo, u32, u32)
COMPARISON(ls, u32, u32)
COMPARISON(hi, u64, u64)
COMPARISON(hs, u64, u64)
COMPARISON(eq, b64, u64)
PREDICATE(setp_and, u32, u32, u32, "setp.lt.s32 q, %2, %3; setp.lt.and.s32 p, %1, %2, q;")
PREDICATE(setp_or_not, u32, u32, u32, "setp.lt.s32 q, %2, %3; setp.lt.or.s32 p, %1, %2, !q;")
PREDICATE(setp_xor, u32, u32, u32, "setp.lt.s32 q, %2, %3; setp.lt.xor.s32 p, %1, %2, q;")
PREDICATE(setp_opposite, u32, u32, u32, "setp.lt.s32 q, %2, %3; setp.lt.and.s32 q|p, %1, %2, q;")
PREDICATE(and_pred, u32, u32, u32,
          "setp.lt.s32 p, %1, %2; setp.lt.s32 q, %2, %3; not.pred q, q; xor.pred p, p, q; and.pred p, p, q;")
INSTRUCTION(set_u32, u32, f32, f32, f32, "set.gtu.u32.f32 %0, %1, %2;")
INSTRUCTION(set_f32, f32, u32, u32, u32, "set.ge.f32.u32 %0, %1, %2;")
INSTRUCTION(slct_s32, u32, u32, u32, u32, "slct.u32.s32 %0, %1, %2, %3;")
INSTRUCTION(slct_f32, u64, u64, u64, f32, "slct.b64.f32 %0, %1, %2, %3;")
INSTRUCTION(predicated, u32, u32, u32, u32,
            "{ .reg .pred p; setp.gt.u32 p, %1, %2; mov.u32 %0, 1; @p mov.u32 %0, 2; @!p add.u32 %0, %0, 4; }")
INSTRUCTION(scoped_labels, u32, u32, u32, u32,
            "{ .reg .pred %%p1; .reg .u32 %%r1; mov.u32 %%r1, 3; setp.gt.u32 %%p1, %1, %2; @%%p1 bra DONE; add.u32 %%r1, "
            "%%r1, 39; DONE: mov.u32 %0, %%r1; }")

INSTRUCTION(branch_by_index, u32, u32, u32, u32,
            "{ .reg .u32 i; and.b32 i, %1, 3; mov.u32 %0, 7; TABLE: .branchtargets ONE, TWO, ONE, DONE; "
            "brx.idx i, TABLE; ONE: mov.u32 %0, 1; bra.uni DONE; TWO: mov.u32 %0, 2; DONE: }")

#define CONVERSION(mode, to, R, from, A)                                                                               \
    INSTRUCTION(cvt_##mode##_##to##_##from, R, A, A, A, "cvt." #mode "." #to "." #from " %0, %1;")
#define WIDENING(to, R, from, A) INSTRUCTION(cvt_##to##_##from, R, A, A, A, "cvt." #to "." #from " %0, %1;")
WIDENING(s32, u32, s8, u32)
WIDENING(u32, u32, u8, u32)
WIDENING(s16, u16, s8, u16)
WIDENING(s32, u32, s16, u16)
WIDENING(u64, u64, u16, u16)
WIDENING(s64, u64, s32, u32)
WIDENING(u64, u64, u32, u32)
WIDENING(u64, u64, s32, u32)
WIDENING(u32, u32, u64, u64)
WIDENING(u16, u16, u64, u64)
WIDENING(s8, u32, s32, u32)
WIDENING(f64, f64, f32, f32)
CONVERSION(sat, s8, u32, s32, u32)
CONVERSION(sat, u8, u32, s32, u32)
CONVERSION(sat, u16, u16, s64, u64)
CONVERSION(sat, s32, u32, u32, u32)
CONVERSION(sat, u32, u32, s64, u64)
CONVERSION(sat, f32, f32, f32, f32)
#define ROUNDINGS_TO_WHOLE(to, R, from, A)                                                                             \
    CONVERSION(rni, to, R, from, A) CONVERSION(rzi, to, R, from, A)                                                    \
    CONVERSION(rmi, to, R, from, A) CONVERSION(rpi, to, R, from, A)
#define ROUNDINGS(to, R, from, A)                                                                                      \
    CONVERSION(rn, to, R, from, A) CONVERSION(rz, to, R, from, A)                                                      \
    CONVERSION(rm, to, R, from, A) CONVERSION(rp, to, R, from, A)
ROUNDINGS_TO_WHOLE(s32, u32, f32, f32)
ROUNDINGS_TO_WHOLE(s32, u32, f64, f64)
ROUNDINGS_TO_WHOLE(s64, u64, f64, f64)
ROUNDINGS_TO_WHOLE(f32, f32, f32, f32)
ROUNDINGS_TO_WHOLE(f64, f64, f64, f64)
CONVERSION(rzi, u32, u32, f32, f32)
CONVERSION(rzi, u32, u32, f64, f64)
CONVERSION(rzi, u64, u64, f32, f32)
CONVERSION(rzi, s64, u64, f32, f32)
CONVERSION(rni, u64, u64, f64, f64)
CONVERSION(rzi, s16, u16, f32, f32)
CONVERSION(rzi, u8, u32, f32, f32)
ROUNDINGS(f32, f32, f64, f64)
ROUNDINGS(f32, f32, s32, u32)
ROUNDINGS(f32, f32, u64, u64)
ROUNDINGS(f32, f32, s64, u64)
ROUNDINGS(f64, f64, s64, u64)
ROUNDINGS(f64, f64, u64, u64)
CONVERSION(rn, f32, f32, u16, u16)
CONVERSION(rn, f64, f64, s32, u32)

INSTRUCTION(mov_pack, u64, u32, u32, u32, "mov.b64 %0, {%1, %2};")
INSTRUCTION(mov_unpack, u32, u64, u64, u64, "{ .reg .b32 t; mov.b64 {t, %0}, %1; }")
INSTRUCTION(mov_unpack_sink, u32, u64, u64, u64, "mov.b64 {%0, _}, %1;")
INSTRUCTION(mov_pack_four, u64, u16, u16, u16, "mov.b64 %0, {%1, %2, %3, %1};")
INSTRUCTION(mov_literals, f32, u32, u32, u32, "{ .reg .f32 t; mov.f32 t, 0f3F800000; add.rn.f32 %0, t, 0fBE800000; }")

// Every thread keeps its own row; the warps are full. The limits of shfl: whole warps, then segments of 8.
#define ROW blockIdx.x *blockDim.x + threadIdx.x
#define WARP_INSTRUCTION(name, code)                                                                                   \
    KERNEL(name) {                                                                                                     \
        const u32 i = ROW;                                                                                             \
        u32 result;                                                                                                    \
        asm volatile("{ .reg .pred p; .reg .b32 t; " code " }"                                                         \
                     : "=r"(result)                                                                                    \
                     : "r"((u32)a[i]), "r"((u32)b[i]), "r"(threadIdx.x));                                              \
        out[i] = result;                                                                                               \
    }
#define SHUFFLE(name, mode, by, limits)                                                                                \
    WARP_INSTRUCTION(name, "shfl.sync." mode ".b32 t|p, %3, " by ", " limits ", -1; selp.u32 %0, t, 0xffff, p;")
SHUFFLE(shfl_up, "up", "3", "0")
SHUFFLE(shfl_up_8, "up", "3", "0x1800")
SHUFFLE(shfl_down, "down", "40", "31")
SHUFFLE(shfl_down_8, "down", "5", "0x181f")
SHUFFLE(shfl_bfly, "bfly", "17", "31")
SHUFFLE(shfl_bfly_8, "bfly", "12", "0x181f")
SHUFFLE(shfl_idx, "idx", "%2", "31")
SHUFFLE(shfl_idx_8, "idx", "%2", "0x181f")
WARP_INSTRUCTION(match_any, "and.b32 t, %1, 3; match.any.sync.b32 %0, t, -1;")
WARP_INSTRUCTION(match_all, "and.b32 t, %1, 0; match.all.sync.b32 t|p, t, -1; selp.u32 %0, t, 7, p;")
WARP_INSTRUCTION(redux_add, "redux.sync.add.u32 %0, %3, -1;")
WARP_INSTRUCTION(redux_min, "redux.sync.min.s32 %0, %1, -1;")
WARP_INSTRUCTION(vote_uni, "setp.lt.u32 p, %3, 40; vote.sync.uni.pred p, p, -1; selp.u32 %0, 1, 0, p;")
WARP_INSTRUCTION(vote_ballot, "setp.lt.u32 p, %3, 40; vote.sync.ballot.b32 %0, !p, -1;")
WARP_INSTRUCTION(lane_masks, "mov.u32 %0, %%lanemask_lt; mov.u32 t, %%lanemask_ge; xor.b32 %0, %0, t; mov.u32 t, "
                             "%%laneid; add.u32 %0, %0, t;")
WARP_INSTRUCTION(own_lane_active, "activemask.b32 t; mov.u32 %0, %%lanemask_eq; and.b32 t, t, %0; setp.eq.u32 p, t, "
                                  "%0; selp.u32 %0, 1, 0, p;")

// On memory that no other thread touches.
#define ATOMIC(name, type, code)                                                                                       \
    KERNEL(name) {                                                                                                     \
        EACH_ROW {                                                                                                     \
            out[i] = a[i];                                                                                             \
            type old;                                                                                                  \
            const type y = (type)b[i], z = (type)c[i];                                                                 \
            asm volatile(code : "=" IN_##type(old) : "l"(out + i), IN_##type(y), IN_##type(z) : "memory");             \
            out[i] = (u64)old * 2 + (type)out[i];                                                                      \
        }                                                                                                              \
    }
// Result: old * 2 + new; red returns no old one.
ATOMIC(atom_add_u32, u32, "atom.global.add.u32 %0, [%1], %2;")
ATOMIC(atom_add_u64, u64, "atom.relaxed.gpu.global.add.u64 %0, [%1], %2;")
ATOMIC(atom_min_s32, u32, "atom.min.s32 %0, [%1], %2;")
ATOMIC(atom_max_s64, u64, "atom.acq_rel.cta.max.s64 %0, [%1], %2;")
ATOMIC(atom_min_u64, u64, "atom.global.min.u64 %0, [%1], %2;")
ATOMIC(atom_max_u32, u32, "atom.global.max.u32 %0, [%1], %2;")
ATOMIC(atom_and_b32, u32, "atom.and.b32 %0, [%1], %2;")
ATOMIC(atom_or_b64, u64, "atom.or.b64 %0, [%1], %2;")
ATOMIC(atom_xor_b32, u32, "atom.xor.b32 %0, [%1], %2;")
ATOMIC(atom_exch_b64, u64, "atom.exch.b64 %0, [%1], %2;")
ATOMIC(atom_cas_b32, u32, "atom.cas.b32 %0, [%1], %2, %3;")
ATOMIC(atom_cas_same_b64, u64, "{ .reg .b64 t; ld.relaxed.gpu.b64 t, [%1]; atom.cas.b64 %0, [%1], t, %3; }")
ATOMIC(atom_inc_u32, u32, "atom.inc.u32 %0, [%1], %2;")
ATOMIC(atom_dec_u32, u32, "atom.dec.u32 %0, [%1], %2;")
ATOMIC(red_add_u64, u64, "mov.u64 %0, 0; red.relaxed.gpu.global.add.u64 [%1], %2;")
ATOMIC(red_xor_b32, u32, "mov.u32 %0, 0; red.release.sys.xor.b32 [%1], %2;")

// A pointer that is into shared memory for some threads, into global or local memory for others.
KERNEL(generic_pointers) {
    __shared__ u64 shared[64];
    u64 local[2];
    local[extra.small[1] & 1] = a[ROW];
    shared[threadIdx.x] = b[ROW];
    out[ROW] = c[ROW];
    __syncthreads();
    u64 *const chosen = threadIdx.x % 3 == 0   ? shared + threadIdx.x
                        : threadIdx.x % 3 == 1 ? out + ROW
                                               : local + (extra.small[1] & 1);
    if (threadIdx.x % 3 == 2)
        *chosen += 5;
    else
        atomicAdd((unsigned long long *)chosen, 5ull);
    const u64 x = *chosen;
    *chosen = x ^ 1;
    out[ROW] = *chosen;
}

// ---- WRONG
KERNEL(shared_out_of_bounds) {
    __shared__ u32 shared[64], next[64];
    shared[threadIdx.x] = next[threadIdx.x] = threadIdx.x;
    __syncthreads();
    out[ROW] = shared[threadIdx.x + extra.small[0]] + next[0];
}
KERNEL(shared_below_the_start) {
    __shared__ u32 shared[64];
    shared[threadIdx.x] = 0;
    u32 *pointer = shared + threadIdx.x; // 64 bits wide, so a generic address
    asm volatile("" : "+l"(pointer));
    pointer[-64] = 1;
}
KERNEL(shared_across_the_end) {
    __shared__ __align__(8) u32 shared[3];
    shared[threadIdx.x % 3] = 1;
    __syncthreads();
    const uint2 last = *(const uint2 *)(shared + 2);
    out[ROW] = last.x ^ last.y;
}
KERNEL(shared_before_it_is_written) {
    __shared__ u32 shared[128];
    shared[2 * threadIdx.x] = threadIdx.x;
    __syncthreads();
    out[ROW] = shared[threadIdx.x];
}
KERNEL(shared_atomic_before_it_is_written) {
    __shared__ u32 shared;
    atomicAdd(&shared, 1u);
}
KERNEL(global_outside) {
    out[ROW] = a[n + threadIdx.x];
}
KERNEL(global_read_only) {
    const_cast<u64 *>(a)[ROW] = 0;
}
KERNEL(misaligned_vector) {
    const uint4 whole = *(const uint4 *)(a + 1);
    out[ROW] = whole.x ^ whole.y ^ whole.z ^ whole.w;
}
KERNEL(misaligned_shared_vector) {
    __shared__ uint4 shared[64];
    shared[threadIdx.x] = make_uint4(1, 2, 3, 4);
    __syncthreads();
    const uint4 whole = *(uint4 *)((u32 *)shared + extra.small[1]);
    out[ROW] = whole.x ^ whole.y ^ whole.z ^ whole.w;
}
KERNEL(local_out_of_bounds) {
    u64 local[4] = {1, 2, 3, 4};
    local[a[ROW] & 3] = 5;
    out[ROW] = local[(b[ROW] & 3) + 16 * extra.small[0]];
}
KERNEL(local_atomic) {
    u64 local[4] = {1, 2, 3, 4};
    u64 *pointer = local + (a[ROW] & 3);
    asm volatile("" : "+l"(pointer));
    atomicAdd((unsigned long long *)pointer, 1ull);
    out[ROW] = *pointer;
}
KERNEL(divides_by_zero) {
    out[ROW] = a[ROW] / (255u - extra.small[4]);
}
KERNEL(traps) {
    if (threadIdx.x == 5)
        __trap();
}
KERNEL(divergent_barrier) {
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
    out[ROW] = 1;
}
__device__ __noinline__ u64 module_variable(u32 index) {
    static __constant__ u64 table[4] = {1, 2, 3, 4};
    return table[index];
}
KERNEL(constant_out_of_bounds) {
    out[ROW] = module_variable(threadIdx.x);
}
#endif

// ---- PROGRAMS
__constant__ u32 primes[8] = {2, 3, 5, 7, 11, 13, 17, 19};

template <class T> struct Pair {
    T first, second;
    __device__ T difference() const {
        return first - second;
    }
};

template <class T> __device__ __noinline__ Pair<T> swapped(Pair<T> pair, T *larger) {
    *larger = pair.first < pair.second ? pair.second : pair.first;
    return {pair.second, pair.first};
}

template <class T, class F> __device__ u64 applied(F f, u64 x, u64 y) {
    const T result = f(from_bits<T>(x), from_bits<T>(y));
    return result == result ? to_bits(result) : 0; // which NaN it is, differs
}

KERNEL(structs_and_functions) {
    EACH_ROW {
        u64 larger = 0;
        const Pair<u64> pair = swapped(Pair<u64>{a[i], b[i]}, &larger);
        short larger_short = 0;
        const Pair<short> narrow = swapped(Pair<short>{(short)a[i], (short)b[i]}, &larger_short);
        out[i] = pair.difference() + 3 * larger + (u64)narrow.difference() * (u64)larger_short + extra.offset +
                 extra.small[i % 5];
    }
}

KERNEL(templates_of_floats) {
    EACH_ROW {
        const double scale = extra.scale;
        u64 sum = applied<double>([scale](double x, double y) { return x < y ? x * scale : y + x; }, a[i], b[i]);
        sum ^= applied<float>([](float x, float y) { return x >= y ? x / y : x - y; }, b[i], c[i]) << 7;
        const double root = from_bits<double>(c[i]);
        out[i] = sum + (root >= 0 ? to_bits(__builtin_sqrt(root)) : 1);
    }
}

KERNEL(long_switch) {
    EACH_ROW {
        u64 x = b[i];
        switch (a[i] % 14) {
        case 0:
            x *= 3;
            break;
        case 1:
            x /= 7;
            break;
        case 2:
            x ^= 99;
            [[fallthrough]];
        case 3:
            x %= 13;
            break;
        case 4:
            x = ~x;
            break;
        case 5:
            x <<= 5;
            break;
        case 6:
            x = (u64)((std::int64_t)x >> 7);
            break;
        case 7:
            x += primes[x & 7];
            break;
        case 8:
            x *= x;
            break;
        case 9:
            x -= c[i];
            break;
        case 11:
            x |= 8;
            break;
        default:
            x = extra.offset;
        }
        out[i] = x;
    }
}

KERNEL(vector_loads) {
    EACH_ROW {
        const uint4 whole = gpu::load((const uint4 *)a + i / 2);
        const ushort4 quarters = gpu::load((const ushort4 *)b + i);
        const uchar4 bytes = gpu::load((const uchar4 *)c + i);
        const double2 doubles = gpu::load((const double2 *)c + i / 2);
        const std::int8_t narrow = gpu::load((const std::int8_t *)a + i);
        const u64 sum = (u64)(whole.x ^ whole.w) * (whole.y + quarters.z) + bytes.w * (unsigned)narrow + (bytes.y << 9);
        gpu::store(out + i, sum ^ to_bits(doubles.y));
    }
}

// The index of the largest element of a local array that the compiler can't keep in registers.
KERNEL(local_arrays) {
    EACH_ROW {
        u64 values[8];
        for (int j = 0; j < 8; ++j)
            values[(j + (a[i] & 7)) & 7] = b[i] * primes[j];
        u32 best = 0;
        for (u32 j = 1; j < 8; ++j)
            best = values[j] > values[best] ? j : best;
        out[i] = values[(best + c[i]) & 7] + best;
    }
}

KERNEL(block_sums) {
    GPU_SHARED(u64[64], sums);
    u64 sum = 0;
    EACH_ROW sum += a[i] * 3 + b[i];
    sums[threadIdx.x] = sum;
    for (u32 half = 32; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half)
            sums[threadIdx.x] = sums[threadIdx.x] + sums[threadIdx.x + half];
    }
    __syncthreads();
    out[blockIdx.x * blockDim.x + threadIdx.x] = sums[threadIdx.x % 2];
}

// A histogram in shared memory, added to the one of the grid; the last block to arrive writes it all out.
KERNEL(last_block) {
    GPU_SHARED(u32[16], bins);
    GPU_SHARED(u32, is_last);
    if (threadIdx.x < 16)
        bins[threadIdx.x] = 0;
    __syncthreads();
    EACH_ROW atomicAdd(&bins[a[i] & 15], 1u);
    __syncthreads();
    auto *counts = (unsigned long long *)out;
    if (threadIdx.x < 16) {
        const u32 mine = bins[threadIdx.x];
        atomicAdd(counts + threadIdx.x, (unsigned long long)mine << 3);
        atomicMax(counts + 16, (unsigned long long)mine);
        atomicMin((int *)(counts + 17), -(int)mine);
        atomicOr((u32 *)(counts + 18), mine);
    }
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0)
        is_last = atomicAdd((u32 *)(counts + 19), 1u) == gridDim.x - 1;
    __syncthreads();
    const u32 last = is_last;
    if (!last)
        return;
    __threadfence();
    if (threadIdx.x < 16)
        out[32 + threadIdx.x] = gpu::load_fresh(out + threadIdx.x) * 2 + threadIdx.x;
}

KERNEL(warp_operations) {
    const u32 i = blockIdx.x * blockDim.x + threadIdx.x, lane = threadIdx.x % 32;
    unsigned long long sum = a[i];
    double largest = (double)(std::int64_t)b[i];
    for (u32 step = 1; step < 32; step *= 2) {
        const unsigned long long other = __shfl_up_sync(0xffffffff, sum, step);
        sum += lane >= step ? other : 0;
        const double right = __shfl_down_sync(0xffffffff, largest, step, 16);
        largest = right > largest ? right : largest;
    }
    const u32 votes = __ballot_sync(0xffffffff, c[i] & 1);
    const int any = __any_sync(0xffffffff, (int)lane > 40), all = __all_sync(0xffffffff, lane < 32);
    u32 odd = 0;
    if (lane & 1)
        odd = __shfl_xor_sync(0xaaaaaaaa, (u32)sum, 2) + __shfl_sync(0xaaaaaaaa, (int)lane, 5, 8);
    __syncwarp();
    out[i] = sum ^ to_bits(largest) ^ votes ^ odd ^ (u64)(2 * any + all) << 60 ^ (u64)__popcll(a[i]) << 33 ^
             (u64)__clz((int)b[i]) << 40 ^ (u64)__ffsll((long long)c[i]) << 47;
}
