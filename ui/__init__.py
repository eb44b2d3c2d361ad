"""The face of the studio: a Gradio app over the engine's public door. Never imports torch."""
