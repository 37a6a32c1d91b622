"""One sequence through one cell, the fastest correct way.

A call of compiled kernels, from ``y, state = rnn(x)`` to machine code, and which object holds what:

    layers.Recurrent      the weights; brings input and states into one form, layer by layer, direction by direction
        |
        |   Call          the cell's Graph, input, states, weights, lengths and resets, as the layer has them
        v
    dispatch              plain tensors go straight on; else it makes a Problem of the Call, and asks each backend in
        |                 turn, the fastest first, for a reason why it refuses the Problem (`refusals`)
        v
    direct                autograd: keeps outputs and residuals for the backward pass; other tensors go by torch's
        |                 dispatcher (`operators`), which torch.compile sees
        v
    plan.Plan             Kernels       machine code and KernelLayouts of the cell; cached for cell, sizes and dtype
        |                 Rows          which sequence is at which step: lengths, resets, direction (`ragged`)
        |                 Signature     what else a command buffer depends on: strides, threads, options (`recording`)
        v
    commands              records what the call does, forward or backward, with a SequenceRecorder;
        |                 each Launch has a kernel's argument blocks, one for each thread
        v
    CommandBuffer         argument blocks and tables of rows as numbers and relocations; cached for Signature and Rows
        |
        |   run           patches the relocations with the addresses of this call's tensors and workspace (`memory`)
        v
    team                  torch's own OpenMP threads, each with its argument block
        |
        v
    launches              machine code that calls one kernel after another, with a barrier after each:
                          add, pack, project, infer or train; backward: pack, back, input_gradient, outer_product,
                          add_rows

A plan is cached for all that it depends on; `recent` finds those of a layer's last calls in a moment. What depends on
lengths is recorded as functions of the Rows: a call of new lengths fills the tables of an earlier plan anew and shares
all else with it. `native` runs a call of a plan.

What stands after a stack, the readout and its loss, is `cross_entropy`, with kernels that all models share.
"""
