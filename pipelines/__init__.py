"""The engine: requests in, pictures out. Nothing in here knows Gradio."""
