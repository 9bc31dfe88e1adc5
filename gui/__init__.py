"""The app: inputs and outputs around one pipeline call. Only the modules of the page itself import gradio."""
