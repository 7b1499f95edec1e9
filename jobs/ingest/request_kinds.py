"""Every kind of finding about ready-made requests: title for several of them, and remedy."""

from __future__ import annotations

REQUEST_KINDS: dict[str, tuple[str, str]] = {
    # Ready-made requests that cannot be sent
    "req_id": (
        "These requests have no “custom_id”.",
        "Give each request a “custom_id”: any text that identifies it.",
    ),
    "req_same_id": (
        "These requests have a “custom_id” that is already in use.",
        "Make each “custom_id” unique.",
    ),
    "req_beside": (
        "These requests have keys other than “custom_id” and “params”.",
        "Remove them, or move them into “params”.",
    ),
    "req_params": (
        "These requests have no “params”.",
        "A request looks like this: "
        '{"custom_id": "1", "params": {"model": ..., "max_tokens": ..., "messages": [...]}}',
    ),
    "req_unknown": (
        "These requests have an unknown parameter.",
        "Remove it from “params” or correct its name.",
    ),
    "req_stream": (
        "These requests ask for streaming, which batches do not support.",
        "Remove “stream”.",
    ),
    "req_speed": (
        "These requests ask for fast mode, which batches do not support.",
        "Remove “speed”.",
    ),
    "req_fallbacks": (
        "These requests name fallback models, which batches do not support.",
        "Remove “fallbacks”.",
    ),
    "req_temperature": (
        "These requests set “temperature”, which Claude no longer supports.",
        "Remove “temperature”.",
    ),
    "req_top_p": (
        "These requests set “top_p”, which Claude no longer supports.",
        "Remove “top_p”.",
    ),
    "req_top_k": (
        "These requests set “top_k”, which Claude no longer supports.",
        "Remove “top_k”.",
    ),
    "req_max_tokens": (
        "These requests do not set a maximum answer length.",
        "Add “max_tokens” to “params”: a whole number, such as 1000.",
    ),
    "req_longest": (
        "These requests allow longer answers than their model can write.",
        "Lower “max_tokens”.",
    ),
    "req_messages": (
        "These requests have no valid messages.",
        '“messages” looks like this: [{"role": "user", "content": "What you want to ask"}]',
    ),
    "req_role": (
        "These requests have a message with an invalid role.",
        "Use the role “user” or “assistant”.",
    ),
    "req_first_system": (
        "These requests begin with a “system” message.",
        "Move its text to “system”, next to “messages”.",
    ),
    "req_first": (
        "These requests do not begin with a “user” message.",
        "Begin “messages” with a “user” message.",
    ),
    "req_text": ("These requests have an empty message.", "Fill it or remove it."),
    "req_content": ("These requests have message content that is not allowed.", "Remove it."),
    "req_prefill": (
        "These requests prefill the answer, which their model does not support.",
        "Remove the last message, or choose a model that supports prefill.",
    ),
    "req_model": ("These requests name no model.", "Add “model” to “params”."),
    "req_unknown_model": ("These requests name an unknown model.", "Correct the model name."),
    "req_retired": ("These requests name a retired model.", "Use its successor."),
    "req_thinking": (
        "These requests set “thinking” in a way their model does not support.",
        "Remove “thinking”, or use a type that the model supports.",
    ),
    "req_budget": (
        "These requests have an invalid “budget_tokens”.",
        "Use a whole number from 1,024 to below “max_tokens”, only with “thinking” of the "
        "type “enabled”.",
    ),
    "req_effort": (
        "These requests set an “effort” their model does not support.",
        "Change or remove “effort”.",
    ),
    "req_tool_choice": (
        "These requests force tool use, which their model does not support.",
        "Set “tool_choice” to the type “auto”.",
    ),
    "req_max_uses": (
        "These requests search the web or fetch pages without a limit, so their maximum cost "
        "is unknown.",
        "Add “max_uses” to the tool, such as 5.",
    ),
    "req_open_tool": (
        "These requests have a tool whose use cannot be limited, so their maximum cost cannot "
        "be known.",
        "Remove the tool. Your own tools, “web_search” and “web_fetch” are fine.",
    ),
    "req_open_block": (
        "These requests contain something that is read without a limit, so their maximum cost "
        "is unknown.",
        "Remove it. Put the text, image or PDF into the message instead.",
    ),
    "req_container": (
        "These requests use a container, whose files and skills are read without a limit, so their "
        "maximum cost is unknown.",
        "Remove “container”. Put the text, image or PDF into the message instead.",
    ),
    "req_region": (
        "These requests set a region, which their model does not support.",
        "Remove “inference_geo”.",
    ),
    "req_setting": (
        "These requests have a parameter with an invalid value.",
        "Correct it or remove it from “params”.",
    ),
    "req_block": (
        "These requests have a message with an invalid block.",
        "Correct the block. Text looks like this: {“type”: “text”, “text”: “...”}.",
    ),
    "req_source": (
        "These requests have an image or document whose source is invalid.",
        "Use a “source” of the type “base64” with “media_type” and “data”, or of the type “url”.",
    ),
    "req_data_url": (
        "These requests have a data URL instead of base64.",
        "Remove all up to the comma, and set “media_type”.",
    ),
    "req_media_type": (
        "These requests have a file with the wrong media type.",
        "Set “media_type” to what the file is.",
    ),
    "req_tool_result": (
        "These requests have tool calls and results that do not belong together.",
        "Put each “tool_result” into the message right after its “tool_use”, with the same ID.",
    ),
    "req_tools": ("These requests have an invalid tool.", "Correct the tool or remove it."),
    "req_no_tools": (
        "These requests choose a tool that they do not have.",
        "Add the tool to “tools”, or remove “tool_choice”.",
    ),
    "req_cache": (
        "These requests set “cache_control” in a way that is not possible.",
        "Use at most 4, those of one hour before those of five minutes.",
    ),
    "req_stop": ("These requests have a blank stop sequence.", "Remove it."),
    "req_metadata": (
        "These requests have “metadata” that is not possible.",
        "Your own notes belong in “custom_id”.",
    ),
    "req_format": (
        "These requests have a JSON schema in another form.",
        "Write “output_config”: {“format”: {“type”: “json_schema”, “schema”: {...}}}.",
    ),
    "req_schema": (
        "These requests have a JSON schema that cannot be used.",
        "Change the schema. Limits such as lengths belong in descriptions.",
    ),
    "req_citations": (
        "These requests ask for citations and a JSON schema.",
        "Turn off citations, or remove the schema.",
    ),
    "req_prefill_end": (
        "These requests begin the answer with text that ends with a blank.",
        "Remove the blank.",
    ),
    "req_convert": (
        "These requests have no counterpart for Claude.",
        "Change them in the file, or write them as requests for Claude.",
    ),
    # Worth knowing about ready-made requests, and about objects
    "req_finding": (
        "",
        "What they find is charged as input. “At most” assumes as much as the model can hold, each "
        "time; usually it is far less. Searches cost another $10 per 1,000.",
    ),
    "req_linked": (
        "",
        "The price of linked files is unknown until they are read. “At most” assumes that a linked "
        "document is as long as the model can read. For a closer price, put the files themselves "
        "into the requests (base64).",
    ),
    "req_unmeasured": (
        "",
        "They contain a PDF that we cannot open, earlier thinking, or tool results. “At "
        "most” assumes that each is as long as the model can read.",
    ),
    "converted": ("", "Look over a few requests before you submit."),
    "converted_without": ("Parameters without a counterpart were removed.", ""),
    "converted_length": ("", "Answers that need more are cut off there."),
    "req_deprecated": ("", "You can submit this job now. Later jobs need another model."),
}
