# SPDX-License-Identifier: Apache-2.0
#
# The launch engine: runs a table of system calls. Contract and entry layout: README.md.
#
# engine   in:  rbx = table, r14 = depth (0 in the process that started), r15 = where to go afterwards
#          out: jumps to r15 with rax = 0 or -errno, r12 = index of the entry it stopped at,
#               rbx = address of that entry, r14 = depth (one more for each clone3 it is the child of)
#          changes rcx, rdx, rsi, rdi, r8-r11; keeps rbp, rsp, r13 and never touches the stack, so a
#          child that shares its parent's memory (CLONE_VM|CLONE_VFORK) does the parent no harm.

	.intel_syntax noprefix

	.equ	ENTRY_SIZE, 64
	.equ	ENTRY_OP, 0			# bits 0-15 system call, 32-47 and 48-63 tolerated errnos
	.equ	ENTRY_INDIRECT, 2		# bit k: argument k+1 is the address of its value
	.equ	ENTRY_TOLERATED_1, 4
	.equ	ENTRY_TOLERATED_2, 6
	.equ	ENTRY_A1, 8
	.equ	ENTRY_A2, 16
	.equ	ENTRY_A3, 24
	.equ	ENTRY_A4, 32
	.equ	ENTRY_A5, 40
	.equ	ENTRY_A6, 48
	.equ	ENTRY_RESULT, 56

	.equ	NO_CALL, 0xffff			# instead of a system call: the answer is a1
	.equ	SYS_close, 3
	.equ	SYS_exit_group, 231
	.equ	SYS_clone3, 435
	.equ	EINTR, 4
	.equ	MAX_ERRNO, 4095
	.equ	EXIT_NOT_STARTED, 127

	.text
engine:
	xor	r12d, r12d
.Lentry:
	xor	eax, eax
	cmp	qword ptr [rbx + ENTRY_OP], -1
	je	.Lstop
.Lcall:
	movzx	eax, word ptr [rbx + ENTRY_OP]
	mov	rdi, [rbx + ENTRY_A1]
	mov	rsi, [rbx + ENTRY_A2]
	mov	rdx, [rbx + ENTRY_A3]
	mov	r10, [rbx + ENTRY_A4]
	mov	r8, [rbx + ENTRY_A5]
	mov	r9, [rbx + ENTRY_A6]
	movzx	ecx, word ptr [rbx + ENTRY_INDIRECT]
	jrcxz	.Lready
	.irp	argument, rdi, rsi, rdx, r10, r8, r9
	shr	ecx, 1
	jnc	1f
	mov	\argument, [\argument]
1:
	.endr
.Lready:
	cmp	eax, NO_CALL
	je	.Lgiven
	syscall
	cmp	rax, -EINTR
	jne	.Lanswered
	# An interrupted close has closed its descriptor: repeating it could close somebody else's.
	cmp	word ptr [rbx + ENTRY_OP], SYS_close
	jne	.Lcall
	jmp	.Lanswered
.Lgiven:
	mov	rax, rdi
.Lanswered:
	mov	rcx, [rbx + ENTRY_RESULT]
	jrcxz	.Ljudge
	mov	[rcx], rax
.Ljudge:
	cmp	rax, -MAX_ERRNO
	jae	.Lfailed
	test	rax, rax
	jnz	.Lnext
	cmp	word ptr [rbx + ENTRY_OP], SYS_clone3
	jne	.Lnext
	# clone3 answered 0: this is the child, which goes on with its own table where it has one.
	inc	r14d
	mov	rcx, [rbx + ENTRY_A3]
	jrcxz	.Lnext
	mov	rbx, rcx
	jmp	engine
.Lfailed:
	mov	ecx, eax
	neg	ecx
	cmp	cx, [rbx + ENTRY_TOLERATED_1]
	je	.Lnext
	cmp	cx, [rbx + ENTRY_TOLERATED_2]
	jne	.Lstop
.Lnext:
	add	rbx, ENTRY_SIZE
	inc	r12d
	jmp	.Lentry
.Lstop:
	jmp	r15

	.ifdef	CALLABLE
# engine_run(table), System V: runs the table in the caller. Answers 0 or -errno; the index and the
# error are in the 16 bytes before the table. A clone3 child that stops leaves them before its own
# table, which the caller sees where memory is shared, and exits with 127.
	.globl	engine_run
engine_run:
	push	rbx
	push	r12
	push	r14
	push	r15
	xor	r14d, r14d
	jmp	.Lrun

# engine_child(table): what libc's clone(2) calls in the child. Never returns: it execs, or leaves
# index and error before the table and exits with 127.
	.globl	engine_child
engine_child:
	mov	r14d, 1
.Lrun:
	mov	rbx, rdi
	lea	r15, [rip + .Lran]
	jmp	engine
.Lran:
	mov	rcx, r12
	shl	rcx, 6
	sub	rbx, rcx
	mov	[rbx - 8], r12
	mov	[rbx - 16], rax
	test	r14d, r14d
	jnz	.Lexit
	pop	r15
	pop	r14
	pop	r12
	pop	rbx
	ret
.Lexit:
	mov	edi, EXIT_NOT_STARTED
	mov	eax, SYS_exit_group
	syscall
	.endif
