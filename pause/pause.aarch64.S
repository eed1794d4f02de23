// SPDX-License-Identifier: Apache-2.0
//
// pause for aarch64: what pause.x86_64.S does, call by call. The texts stand before the code, since the
// assembler takes no length that it does not know yet as an immediate.

	.equ	ELF_MACHINE, 183		// EM_AARCH64
	.equ	LARGEST_PAGE, 0x10000
	.include "elf.S"

	.equ	SYS_write, 64
	.equ	SYS_exit_group, 94
	.equ	SYS_rt_sigaction, 134
	.equ	SYS_rt_sigprocmask, 135
	.equ	SYS_rt_sigtimedwait, 137
	.equ	SYS_prctl, 167
	.equ	SYS_getpid, 172
	.equ	SYS_wait4, 260
	.equ	SIG_SETMASK, 2
	.equ	SIGINT, 2
	.equ	SIGTERM, 15
	.equ	SIGCHLD, 17
	.equ	AWAITED, 1 << (SIGINT - 1) | 1 << (SIGTERM - 1) | 1 << (SIGCHLD - 1)
	.equ	PR_SET_NAME, 15
	.equ	WNOHANG_WALL, 0x40000001
	.equ	EXIT_USAGE, 2

	.macro	sys	number
	mov	x8, \number
	svc	0
	.endm

	.macro	print	fd, text
	mov	x0, \fd
	adr	x1, \text
	mov	x2, \text\()_end - \text
	sys	SYS_write
	.endm

	.macro	load	register, value
	movz	\register, (\value) & 0xffff
	movk	\register, (\value) >> 16, lsl 16
	.endm

name:	.asciz	"pause"
version:
	.ascii	"podrt pause "
	.include "version.inc"
	.ascii	"\n"
version_end:
usage:	.ascii	"usage: pause [-v]\n"
usage_end:
warning:
	.ascii	"pause: warning: not PID 1, so orphans of a pod are not handed to this process\n"
warning_end:

	.balign	4
_start:
	ldr	x0, [sp]			// argc
	cmp	x0, 1
	b.le	run
	cmp	x0, 2
	b.ne	bad_usage
	ldr	x1, [sp, 16]			// argv[1]
	ldrh	w2, [x1]
	mov	w3, '-' | 'v' << 8
	cmp	w2, w3
	b.ne	bad_usage
	ldrb	w2, [x1, 2]
	cbnz	w2, bad_usage
	print	1, version
	mov	x0, 0
	sys	SYS_exit_group
bad_usage:
	print	2, usage
	mov	x0, EXIT_USAGE
	sys	SYS_exit_group

run:
	mov	x0, -1
	str	x0, [sp, -16]!
	mov	x0, SIG_SETMASK
	mov	x1, sp
	mov	x2, 0
	mov	x3, 8
	sys	SYS_rt_sigprocmask
	// An inherited "ignore" of SIGCHLD would be taken over by exec.
	stp	xzr, xzr, [sp, -32]!		// handler SIG_DFL and flags; then restorer, mask
	stp	xzr, xzr, [sp, 16]
	mov	x0, SIGCHLD
	mov	x1, sp
	mov	x2, 0
	mov	x3, 8
	sys	SYS_rt_sigaction
	mov	x0, PR_SET_NAME
	adr	x1, name
	sys	SYS_prctl
	sys	SYS_getpid
	cmp	x0, 1
	b.eq	1f
	print	2, warning
1:	load	x0, AWAITED
	str	x0, [sp]

	// What ended before the signals were blocked raised nothing that is still to come: reap first.
reap:
	mov	x0, -1
	mov	x1, 0
	load	x2, WNOHANG_WALL
	mov	x3, 0
	sys	SYS_wait4
	cmp	x0, 0
	b.gt	reap
	mov	x0, sp
	mov	x1, 0				// no siginfo, no timeout
	mov	x2, 0
	mov	x3, 8
	sys	SYS_rt_sigtimedwait
	cmp	x0, SIGTERM
	b.eq	1f
	cmp	x0, SIGINT
	b.ne	reap
1:	mov	x0, 0
	sys	SYS_exit_group
image_end:
