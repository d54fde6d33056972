//! What the machine was doing when a signal came: where its program stood, and whether it stored;
//! calls on other stacks, and calls that a signal can end.
//!
//! The one file that knows processor architectures. Called by `sigbus.rs`, `stack.rs` and
//! `guard.rs`.

use libc::c_void;
use memfold_host::addr::Access;

use crate::fault::Told;

/// The interrupted instruction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interrupted {
    /// Its address.
    pub(crate) pc: usize,
    /// What it did to memory, and what it found.
    pub(crate) told: Told,
}

/// Reads a signal handler's third argument.
///
/// # Safety
/// `context` is that argument, of a handler of a memory fault that is running.
#[cfg(target_arch = "x86_64")]
pub(crate) unsafe fn interrupted(context: *mut c_void) -> Interrupted {
    // SAFETY: the kernel passes a `ucontext_t`, by the caller's word.
    let registers = unsafe { &(*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    // Bit 0 of the page-fault error code: there was a page. Bit 1: the access was a store.
    let error = registers[libc::REG_ERR as usize];
    let access = if error & 2 != 0 {
        Access::Write
    } else {
        Access::Read
    };
    Interrupted {
        pc: registers[libc::REG_RIP as usize] as usize,
        told: Told {
            access,
            present: error & 1 != 0,
        },
    }
}

/// Reads a signal handler's third argument.
///
/// # Safety
/// `context` is that argument, of a handler of a memory fault that is running.
#[cfg(target_arch = "aarch64")]
pub(crate) unsafe fn interrupted(context: *mut c_void) -> Interrupted {
    const ESR_MAGIC: u32 = 0x4553_5201;
    /// Bytes of the records that follow the registers.
    const RECORDS: usize = 4096;
    /// Bit 6 of the syndrome of a data abort: write, not read.
    const WRITE: u64 = 1 << 6;
    /// The kind of fault, but for the level of the table: the access was not allowed, so there was
    /// a page.
    const KIND: u64 = 0b11_1100;
    const PERMISSION: u64 = 0b00_1100;
    // SAFETY: the kernel passes a `ucontext_t`, by the caller's word.
    let machine = unsafe { &raw const (*context.cast::<libc::ucontext_t>()).uc_mcontext };
    // SAFETY: as above.
    let pc = unsafe { (*machine).pc } as usize;
    // The records stand behind `pstate`, aligned to 16: each begins with a magic number and its
    // size.
    let end_of_registers = std::mem::offset_of!(libc::mcontext_t, pstate) + 8;
    let first = end_of_registers.next_multiple_of(16);
    let mut at = 0;
    // Ends: each record has a size of at least 8.
    while at + 16 <= RECORDS {
        // SAFETY: inside the 4096 bytes of records that the kernel fills.
        let record = unsafe { machine.cast::<u8>().add(first + at) };
        // SAFETY: as above; records are aligned to 16.
        let (magic, size) = unsafe { (record.cast::<u32>().read(), record.add(4).cast::<u32>().read()) };
        if magic == ESR_MAGIC {
            // SAFETY: the syndrome follows the head of this record.
            let syndrome = unsafe { record.add(8).cast::<u64>().read() };
            let access = if syndrome & WRITE != 0 {
                Access::Write
            } else {
                Access::Read
            };
            let present = syndrome & KIND == PERMISSION;
            let told = Told { access, present };
            return Interrupted { pc, told };
        }
        if magic == 0 || size < 8 {
            break;
        }
        at += size as usize;
    }
    // Unknown: a store, which is resolved for loads as well.
    let told = Told {
        access: Access::Write,
        present: false,
    };
    Interrupted { pc, told }
}

/// Calls `body` on another stack, and comes back.
///
/// # Safety
/// `top` is the aligned end of a stack that nobody uses; `body` returns.
#[cfg(target_arch = "x86_64")]
pub(crate) unsafe fn call_on(top: usize, body: extern "C" fn(*mut c_void), argument: *mut c_void) {
    // SAFETY: by the caller's contract; the stack pointer is kept in a register that `body`
    // restores.
    unsafe {
        std::arch::asm!(
            "mov r12, rsp",
            "mov rsp, {top}",
            "call {body}",
            "mov rsp, r12",
            top = in(reg) top,
            body = in(reg) body,
            in("rdi") argument,
            out("r12") _,
            clobber_abi("C"),
        );
    }
}

/// Calls `body` on another stack, and comes back.
///
/// # Safety
/// `top` is the aligned end of a stack that nobody uses; `body` returns.
#[cfg(target_arch = "aarch64")]
pub(crate) unsafe fn call_on(top: usize, body: extern "C" fn(*mut c_void), argument: *mut c_void) {
    // SAFETY: by the caller's contract; the stack pointer is kept in a register that `body`
    // restores.
    unsafe {
        std::arch::asm!(
            "mov x20, sp",
            "mov sp, {top}",
            "blr {body}",
            "mov sp, x20",
            top = in(reg) top,
            body = in(reg) body,
            in("x0") argument,
            out("x20") _,
            clobber_abi("C"),
        );
    }
}

/// Where a thread goes on when a signal ends what [`call_guarded`] called.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Recovery {
    stack: usize,
    pc: usize,
}

/// Calls `body`; `recovery` says meanwhile where to go on if it is to be ended. Whether it was.
///
/// # Safety
/// `body` returns or is ended by [`recover`], and leaves nothing undone then.
#[cfg(target_arch = "x86_64")]
pub(crate) unsafe fn call_guarded(
    body: extern "C" fn(*mut c_void),
    argument: *mut c_void,
    recovery: *mut Recovery,
) -> bool {
    let ended: u64;
    // SAFETY: by the caller's contract; both ways out restore the registers that the compiler does
    // not let us name, and all others are given up.
    unsafe {
        std::arch::asm!(
            "push rbp",
            "push rbx",
            "lea rax, [rip + 2f]",
            "mov [rsi], rsp",
            "mov [rsi + 8], rax",
            "call rdx",
            "xor eax, eax",
            "jmp 3f",
            "2:",
            "mov eax, 1",
            "3:",
            "pop rbx",
            "pop rbp",
            in("rdi") argument,
            in("rsi") recovery,
            in("rdx") body,
            lateout("rax") ended,
            out("r12") _,
            out("r13") _,
            out("r14") _,
            out("r15") _,
            clobber_abi("C"),
        );
    }
    ended != 0
}

/// Calls `body`; `recovery` says meanwhile where to go on if it is to be ended. Whether it was.
///
/// # Safety
/// `body` returns or is ended by [`recover`], and leaves nothing undone then.
#[cfg(target_arch = "aarch64")]
pub(crate) unsafe fn call_guarded(
    body: extern "C" fn(*mut c_void),
    argument: *mut c_void,
    recovery: *mut Recovery,
) -> bool {
    let ended: u64;
    // SAFETY: by the caller's contract; both ways out restore the registers that the compiler does
    // not let us name, and all others are given up.
    unsafe {
        std::arch::asm!(
            "stp x29, x19, [sp, #-16]!",
            "mov x9, sp",
            "adr x10, 2f",
            "stp x9, x10, [x1]",
            "blr x2",
            "mov x0, #0",
            "b 3f",
            "2:",
            "mov x0, #1",
            "3:",
            "ldp x29, x19, [sp], #16",
            inlateout("x0") argument => ended,
            in("x1") recovery,
            in("x2") body,
            out("x20") _,
            out("x21") _,
            out("x22") _,
            out("x23") _,
            out("x24") _,
            out("x25") _,
            out("x26") _,
            out("x27") _,
            out("x28") _,
            out("v8") _,
            out("v9") _,
            out("v10") _,
            out("v11") _,
            out("v12") _,
            out("v13") _,
            out("v14") _,
            out("v15") _,
            clobber_abi("C"),
        );
    }
    ended != 0
}

/// Ends what [`call_guarded`] called: the thread goes on behind it when the handler returns.
///
/// # Safety
/// `context` is the third argument of a handler that is running, of a fault inside that call.
pub(crate) unsafe fn recover(context: *mut c_void, recovery: &Recovery) {
    // SAFETY: the kernel passes a `ucontext_t`, by the caller's word.
    let machine = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext };
    #[cfg(target_arch = "x86_64")]
    {
        machine.gregs[libc::REG_RSP as usize] = recovery.stack as i64;
        machine.gregs[libc::REG_RIP as usize] = recovery.pc as i64;
    }
    #[cfg(target_arch = "aarch64")]
    {
        machine.sp = recovery.stack as u64;
        machine.pc = recovery.pc as u64;
    }
}
