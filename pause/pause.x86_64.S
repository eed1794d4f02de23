# SPDX-License-Identifier: Apache-2.0
#
# pause: PID 1 of a sandbox. It reaps what it inherits, ends on SIGTERM or SIGINT, and otherwise
# sleeps. Every signal stays blocked and is taken with rt_sigtimedwait, so there is no handler, no
# trampoline and no race between a check and the sleep. Contract: README.md.

	.intel_syntax noprefix

	.equ	ELF_MACHINE, 62			# EM_X86_64
	.equ	LARGEST_PAGE, 0x1000
	.include "elf.S"

	.equ	SYS_write, 1
	.equ	SYS_rt_sigaction, 13
	.equ	SYS_rt_sigprocmask, 14
	.equ	SYS_getpid, 39
	.equ	SYS_wait4, 61
	.equ	SYS_rt_sigtimedwait, 128
	.equ	SYS_prctl, 157
	.equ	SYS_exit_group, 231
	.equ	SIG_SETMASK, 2
	.equ	SIGINT, 2
	.equ	SIGTERM, 15
	.equ	SIGCHLD, 17
	.equ	AWAITED, 1 << (SIGINT - 1) | 1 << (SIGTERM - 1) | 1 << (SIGCHLD - 1)
	.equ	PR_SET_NAME, 15
	.equ	WNOHANG_WALL, 0x40000001
	.equ	EXIT_USAGE, 2

	.macro	sys	number
	mov	eax, \number
	syscall
	.endm

	.macro	print	fd, text
	mov	edi, \fd
	lea	rsi, [rip + \text]
	mov	edx, \text\()_end - \text
	sys	SYS_write
	.endm

_start:
	pop	rcx				# argc
	dec	ecx
	jle	run
	dec	ecx
	jnz	bad_usage
	mov	rsi, [rsp + 8]			# argv[1]
	cmp	word ptr [rsi], '-' | 'v' << 8
	jne	bad_usage
	cmp	byte ptr [rsi + 2], 0
	jne	bad_usage
	print	1, version
	xor	edi, edi
	sys	SYS_exit_group
bad_usage:
	print	2, usage
	mov	edi, EXIT_USAGE
	sys	SYS_exit_group

run:
	push	-1
	mov	edi, SIG_SETMASK
	mov	rsi, rsp
	xor	edx, edx
	mov	r10d, 8
	sys	SYS_rt_sigprocmask
	# An inherited "ignore" of SIGCHLD would be taken over by exec.
	push	0				# restorer, mask; then handler SIG_DFL and flags
	push	0
	push	0
	mov	edi, SIGCHLD
	mov	rsi, rsp
	sys	SYS_rt_sigaction
	mov	edi, PR_SET_NAME
	lea	rsi, [rip + name]
	sys	SYS_prctl
	sys	SYS_getpid
	dec	eax
	jz	1f
	print	2, warning
1:	push	AWAITED

	# What ended before the signals were blocked raised nothing that is still to come: reap first.
reap:
	mov	rdi, -1
	xor	esi, esi
	mov	edx, WNOHANG_WALL
	xor	r10d, r10d
	sys	SYS_wait4
	test	eax, eax
	jg	reap
	mov	rdi, rsp
	xor	edx, edx			# no timeout; rsi = 0: no siginfo
	mov	r10d, 8
	sys	SYS_rt_sigtimedwait
	cmp	eax, SIGTERM
	je	1f
	cmp	eax, SIGINT
	jne	reap
1:	xor	edi, edi
	sys	SYS_exit_group

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
image_end:
