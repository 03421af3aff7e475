"""Checkpoints: hostile bytes in, a known CLIP out, canonical files, and back to the layout that came.

Every refusal is a CheckpointRejected with one of these stable codes.

The file
    empty_file                    nothing in it
    unknown_format                its first bytes are those of no checkpoint that is read
    packed_file                   a tar, or compressed
    legacy_pickle                 a bare pickle: torch.save before 1.6, or pickle.dump
    pt2_archive                   an exported program, not weights
    torch_package                 a torch.package with source code
    two_formats                   a checkpoint that readers of another format open, too
    read_otherwise                torch or safetensors reads other tensors from it than we do
    digest_mismatch               not the bytes whose SHA-256 was declared

The zip container
    zip_truncated                 the directory or the end of a member is missing
    zip_trailing_data             bytes after the end
    zip_layout_invalid            overlaps, holes, hidden bytes, split archives, unknown flags
    zip_headers_disagree          the directory and a member's own header say different things
    zip_duplicate_member          one name twice
    zip_unsafe_name               absolute, climbing, unprintable
    zip_encrypted                 a password
    zip_compressed                torch.save stores; a compressed member is a bomb or was packed again
    zip_wrong_crc                 a checksum does not fit
    zip_too_many_members          more than any CLIP has
    zip_not_a_checkpoint          another kind of zip
    member_unknown                a member that neither torch.save nor torch.jit.save writes

The pickle
    pickle_forbidden_global       it names something that a state dict does not need
    pickle_forbidden_opcode       it uses an instruction that a state dict does not need
    pickle_malformed              truncated, or followed by something
    pickle_duplicate_key          one key twice
    pickle_too_large              too many bytes or steps
    not_a_state_dict              no table of tensors in it
    not_a_module                  TorchScript without a module tree of sane size
    torchscript_code              code that changes the tensors while they are loaded
    not_a_tensor                  something else where a weight should be
    ambiguous_weights             more than one state dict
    room_for_another_model        too much beside the weights, in whatever form

Tensors
    tensor_call_malformed         described as torch never does
    tensor_name_invalid           a name too long or unprintable
    tensor_empty                  no elements
    tensor_outside_storage        it reaches beyond its storage
    tensor_overlaps_itself        it uses elements of its storage twice
    tensor_size_mismatch          shape and bytes do not fit
    tensors_exceed_file           together larger than the file
    too_many_tensors              more than any CLIP has
    storage_missing               no such member
    storage_size_mismatch         the member has another size than claimed
    storage_misplaced             not where torch would compute it to be
    storage_has_two_forms         one storage with two types, lengths or devices
    dtype_not_allowed             neither fp16, bf16 nor fp32
    byte_order_unsupported        big-endian
    values_not_finite             NaN or infinity

safetensors
    safetensors_truncated         the file ends too early
    safetensors_header_too_large  more than 16 MiB of header
    safetensors_header_invalid    no JSON, or not the JSON that the format asks for
    safetensors_duplicate_name    one name twice
    safetensors_layout_invalid    overlaps, holes, bytes left over

Which model
    not_a_clip                    other names than any CLIP's
    one_tower_only                image or text only
    timm_tower                    the image tower is timm's
    custom_text_tower             CustomTextCLIP: the text tower is a module of its own
    attentional_pool              CoCa's pooler
    coca_model                    with a text decoder
    siglip_model                  Hugging Face's SigLIP
    mobileclip_model              Apple's MobileCLIP
    adapter_only                  LoRA or another adapter
    scaled_cosine_attention       open_clip builds it, but cannot run it
    name_collision                two tensors for one place
    attention_incomplete          query, key and value not all there
    position_ids_unusual          positions out of order
    attention_mask_unusual        a mask that is not causal
    tensor_missing                one that every CLIP has
    tensor_shape_invalid          another number of dimensions than a CLIP's
    image_not_square              positions of no square grid
    patch_not_square              oblong patches
    image_size_out_of_range       images larger than any CLIP reads
    heads_undeclared              the number of heads must be declared for this width
    heads_do_not_divide           heads that do not divide the width
    option_contradicts_tensors    a declared option that cannot be true
    vocabulary_too_small          not CLIP's tokenizer
    context_length_out_of_range   no room for a word, or for the mask
    eos_id_not_in_tokenizer       an end token that CLIP's tokenizer never gives
    architecture_mismatch         keys or shapes other than open_clip's own for this architecture
    architecture_not_buildable    open_clip refuses the shape

Folders and configurations
    folder_ambiguous              several files of weights: libraries differ in which they load
    folder_sharded                weights in several files
    folder_without_weights        no weights
    config_invalid                no JSON, or out of bounds
    config_unsupported            not a plain CLIP

Canonical files and writing back
    canonical_missing             model.safetensors or config.json is not there
    canonical_damaged             they do not belong together
    does_not_fit_dtype            a trained value is too large for the uploaded dtype
    not_the_same_weights          the file in the uploaded layout, read again, is not the canonical weights
    provenance_missing            no record of an uploaded layout
"""
