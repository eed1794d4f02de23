// SPDX-License-Identifier: Apache-2.0
//
// The launch engine for aarch64: what engine.x86_64.S does, step by step. Contract and entry layout: README.md.
//
// engine   in:  x19 = table, w21 = depth (0 in the process that started), x22 = where to go afterwards
//          out: jumps to x22 with x0 = 0 or -errno, w20 = index of the entry it stopped at,
//               x19 = address of that entry, w21 = depth (one more for each clone3 it is the child of)
//          changes x0-x5, x8-x10; keeps x23-x30 and never touches the stack, so a child that shares its
//          parent's memory (CLONE_VM|CLONE_VFORK) does the parent no harm. The kernel changes x0 alone.

	.equ	ENTRY_SIZE, 64
	.equ	ENTRY_OP, 0			// bits 0-15 system call, 32-47 and 48-63 tolerated errnos
	.equ	ENTRY_INDIRECT, 2		// bit k: argument k+1 is the address of its value
	.equ	ENTRY_TOLERATED_1, 4
	.equ	ENTRY_TOLERATED_2, 6
	.equ	ENTRY_A1, 8
	.equ	ENTRY_A3, 24
	.equ	ENTRY_A5, 40
	.equ	ENTRY_RESULT, 56

	.equ	NO_CALL, 0xffff			// instead of a system call: the answer is a1
	.equ	SYS_close, 57
	.equ	SYS_exit_group, 94
	.equ	SYS_clone3, 435
	.equ	EINTR, 4
	.equ	MAX_ERRNO, 4095
	.equ	EXIT_NOT_STARTED, 127

	.text
engine:
	mov	w20, 0
.Lentry:
	ldr	x9, [x19, ENTRY_OP]
	mov	x0, 0
	cmn	x9, 1
	b.eq	.Lstop
.Lcall:
	ldrh	w8, [x19, ENTRY_OP]
	ldrh	w9, [x19, ENTRY_INDIRECT]
	ldp	x0, x1, [x19, ENTRY_A1]
	ldp	x2, x3, [x19, ENTRY_A3]
	ldp	x4, x5, [x19, ENTRY_A5]
	cbz	w9, .Lready
	.irp	argument, 0, 1, 2, 3, 4, 5
	tbz	w9, \argument, 1f
	ldr	x\argument, [x\argument]
1:
	.endr
.Lready:
	mov	w10, NO_CALL
	cmp	w8, w10
	b.eq	.Lanswered			// with a1, which is where an answer is
	svc	0
	cmn	x0, EINTR
	b.ne	.Lanswered
	// An interrupted close has closed its descriptor: repeating it could close somebody else's.
	cmp	w8, SYS_close
	b.ne	.Lcall
.Lanswered:
	ldr	x9, [x19, ENTRY_RESULT]
	cbz	x9, .Ljudge
	str	x0, [x9]
.Ljudge:
	cmn	x0, MAX_ERRNO			// carries from -MAX_ERRNO up to -1
	b.cs	.Lfailed
	cbnz	x0, .Lnext
	cmp	w8, SYS_clone3
	b.ne	.Lnext
	// clone3 answered 0: this is the child, which goes on with its own table where it has one.
	add	w21, w21, 1
	ldr	x9, [x19, ENTRY_A3]
	cbz	x9, .Lnext
	mov	x19, x9
	b	engine
.Lfailed:
	neg	w9, w0
	ldrh	w10, [x19, ENTRY_TOLERATED_1]
	cmp	w9, w10
	b.eq	.Lnext
	ldrh	w10, [x19, ENTRY_TOLERATED_2]
	cmp	w9, w10
	b.ne	.Lstop
.Lnext:
	add	x19, x19, ENTRY_SIZE
	add	w20, w20, 1
	b	.Lentry
.Lstop:
	br	x22

	.ifdef	CALLABLE
// engine_run(table), AAPCS64: runs the table in the caller. Answers 0 or -errno; the index and the
// error are in the 16 bytes before the table. A clone3 child that stops leaves them before its own
// table, which the caller sees where memory is shared, and exits with 127.
	.globl	engine_run
engine_run:
	stp	x19, x20, [sp, -32]!
	stp	x21, x22, [sp, 16]
	mov	w21, 0
	b	.Lrun

// engine_child(table): what libc's clone(2) calls in the child. Never returns: it execs, or leaves
// index and error before the table and exits with 127.
	.globl	engine_child
engine_child:
	mov	w21, 1
.Lrun:
	mov	x19, x0
	adr	x22, .Lran
	b	engine
.Lran:
	sub	x19, x19, x20, lsl 6
	stp	x0, x20, [x19, -16]
	cbnz	w21, .Lexit
	ldp	x21, x22, [sp, 16]
	ldp	x19, x20, [sp], 32
	ret
.Lexit:
	mov	w0, EXIT_NOT_STARTED
	mov	x8, SYS_exit_group
	svc	0
	.endif
